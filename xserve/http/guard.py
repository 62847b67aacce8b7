"""What every request passes before it is routed: Host, Origin, content type, a request id, the access log.

Browsers are the danger on loopback: a page of a stranger can make them send requests here, and by DNS
rebinding even read the answers. So the Host of a TCP request must be a name of this machine, a request that
changes something must not come from a foreign Origin, and its body must have a type that a page cannot send
without asking first. Requests over the admin unix socket come from no browser.

Every decision is made on the ASGI scope, never on a URL put together from the Host header. Plain ASGI: the
client's departure stays visible to the application.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from time import monotonic
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xserve.http.errors import ApiError, send_error

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s]+)(?::[0-9]*)?")
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

Pairs = list[tuple[bytes, bytes]]
access = logging.getLogger("xserve.access")


@dataclass(frozen=True, slots=True)
class GuardRules:
    """What the guard lets through."""

    names: frozenset[str] = LOCAL_NAMES
    """Names (without port) that a Host or an Origin may have."""
    check_host: bool = True
    """Off where the listener is meant for other machines and no names are configured."""
    uploads: frozenset[str] = frozenset()
    """Paths that take multipart/form-data, which a page can send without asking; its Origin is checked all the same."""


class Guard:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, rules: GuardRules | None = None) -> None:
        self._app = app
        self._rules = rules or GuardRules()
        self._prefix = token_hex(4)
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        answer = _Answer(send, scope, request_id)
        try:
            if state.get("listener") != "admin":
                self._check_browser(scope["method"], headers, scope["headers"])
            self._check_type(scope, headers)
        except ApiError as error:
            await send_error(answer.send, error)
        else:
            await self._app(scope, receive, answer.send)
        finally:
            answer.log()

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id", b"")
        if _SANE_ID.fullmatch(given):
            return given.decode("ascii")
        return f"{self._prefix}-{next(self._numbers)}"

    def _check_browser(self, method: str, headers: dict[bytes, bytes], pairs: Pairs) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if [name for name, _ in pairs].count(b"host") > 1:
            raise ApiError(400, "The request has two Host headers.", code="two_hosts")
        if self._rules.check_host and _name(host) not in self._rules.names:
            raise ApiError(421, "This server does not go by the name in the Host header.", code="unknown_host")
        origin = headers.get(b"origin")
        if origin is not None and method in _CHANGING and not self._is_known(origin, host):
            raise ApiError(403, "Requests from this Origin are not accepted.", code="unknown_origin")

    def _is_known(self, origin: bytes, host: str) -> bool:
        """Whether a page of ours sent the request: the same name and port as it was sent to."""
        try:
            authority = urlsplit(origin.decode("latin-1").lower()).netloc
        except ValueError:
            return False
        return authority != "" and authority == host

    def _check_type(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if scope["method"] not in _CHANGING or not _has_body(headers):
            return
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind == b"application/json":
            return
        if kind == b"multipart/form-data" and scope["path"] in self._rules.uploads:
            return
        raise ApiError(415, "The body needs the header Content-Type: application/json.", code="wrong_content_type")


class _Answer:
    """The way back: adds the request id, remembers what the access log tells."""

    __slots__ = ("_began", "_id", "_scope", "_send", "_status")

    def __init__(self, send: Send, scope: Scope, request_id: str) -> None:
        self._send = send
        self._scope = scope
        self._id = request_id
        self._status = 0
        self._began = monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            own = (b"x-request-id", self._id.encode("ascii"))
            message = {**message, "headers": [*message.get("headers", ()), own]}
        await self._send(message)

    def log(self) -> None:
        """Path without query, no headers: nothing secret. Status 0: the client left before an answer."""
        if access.isEnabledFor(logging.INFO):
            milliseconds = (monotonic() - self._began) * 1000
            scope = self._scope
            listener = scope["state"].get("listener", "-")
            line = "%s %s %r %d %.1f ms %s"
            access.info(line, listener, scope["method"], scope["path"], self._status, milliseconds, self._id)


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _name(authority: str) -> str:
    """The name in `name`, `name:port`, `[v6]` or `[v6]:port`; empty where it is none of these."""
    found = _AUTHORITY.fullmatch(authority)
    return found[1] if found else ""

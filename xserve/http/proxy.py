"""The hot path: a request for inference goes to a replica of its model, the reply comes back.

Plain ASGI, no framework: read the body (capped), find the model, enter a replica, send the body on (byte
for byte unless a top-level member must change), relay the reply. From the end of the body on the client's
departure is watched and cancels the work: the upstream connection is closed, engines cancel on that.

What may be tried again: only a request that no engine has seen, on another replica of the same model.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic

from starlette.types import Receive, Scope, Send

from xserve.core.manifest import ModelType
from xserve.http.body import Asked, Body, ClientGoneError, find_model, read_body
from xserve.http.departure import Departure
from xserve.http.errors import ApiError, Headers, retry_after, send_error
from xserve.http.fitting import fit
from xserve.http.form import find_in_form, is_form
from xserve.http.gallery import Gallery
from xserve.http.links import Links
from xserve.http.relay import BrokenReplyError, Change, Relay
from xserve.http.traffic import Lease, Target, Traffic
from xserve.http.underway import Errand, Underway
from xserve.http.upstream import Upstream, request_head, request_line
from xserve.http.wire import MalformedError, Reply, UnreachableError, UpstreamError

log = logging.getLogger(__name__)

_FORWARDED = frozenset({b"accept", b"content-type", b"traceparent", b"tracestate"})
"""Request headers that an engine may see: never credentials, cookies or anything about the connection."""


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """Limits of the inference routes."""

    body_bytes: int = 64 << 20
    first_byte_seconds: float | None = None  # from asking the engine to its headers; None: no limit


class Proxy:
    """What all inference routes share, and where they are made."""

    def __init__(
        self,
        traffic: Traffic,
        upstream: Upstream,
        limits: ProxyLimits | None = None,
        gallery: Gallery | None = None,
    ) -> None:
        self.traffic = traffic
        self.upstream = upstream
        self.limits = limits or ProxyLimits()
        self.underway = Underway()
        self.gallery = gallery or Gallery()

    def route(self, path: str, *types: ModelType, links: bool = False) -> InferenceRoute:
        """The ASGI application for the engines' `path`, which only models of these types serve.

        With `links` the images of a reply become links, unless the client wants them as they are.
        """
        return InferenceRoute(self, path, types, Links(self.gallery) if links else None)


@dataclass(slots=True)
class _Call:
    """One request on its way."""

    target: Target
    asked: Asked
    head: bytes
    body: Body
    request_id: str
    change: Change | None  # of the reply
    errand: Errand | None = None
    outcome: str = "5xx"


class InferenceRoute:
    """One inference route."""

    def __init__(self, proxy: Proxy, path: str, types: tuple[ModelType, ...], links: Links | None) -> None:
        self._traffic = proxy.traffic
        self._upstream = proxy.upstream
        self._underway = proxy.underway
        self._links = links
        self._limits = proxy.limits
        self._path = path
        self._request_line = request_line("POST", path)
        self._types = types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            call = self._prepare(scope, await read_body(scope, receive, self._limits.body_bytes))
            await self._counted(call, Departure(receive, scope), send)
        except ApiError as error:
            await send_error(send, error)
        except ClientGoneError:
            log.debug("the client left")

    def _prepare(self, scope: Scope, body: Body) -> _Call:
        """Find out who is asked for what. Raises ApiError where the request is at fault."""
        headers = [pair for pair in scope["headers"] if pair[0] in _FORWARDED]
        kind = _content_type(headers)
        asked = find_in_form(kind, body) if is_form(kind) else find_model(kind, body)
        target = self._find(asked.model)
        change = self._links.change(scope, asked, body) if self._links else None
        body = fit(body, asked, target)
        request_id = asked.request_id or scope.get("state", {}).get("request_id") or token_hex(8)
        headers.append((b"x-request-id", request_id.encode()))
        head = request_head(self._request_line, len(body), headers)
        return _Call(target, asked, head, body, request_id, change)

    def _find(self, name: str) -> Target:
        target = self._traffic.resolve(name)
        if target is None:
            raise self._traffic.unknown(name)
        if target.exposure.model_type not in self._types:
            raise _wrong_type(target, self._path, self._types)
        return target

    async def _counted(self, call: _Call, departure: Departure, send: Send) -> None:
        began = monotonic()
        try:
            with departure:
                await self._serve(call, Relay(send, departure, call.request_id))
        except ApiError as error:
            call.outcome = _outcome(error.status)
            raise
        except (ClientGoneError, asyncio.CancelledError):
            call.outcome = "gone"
            raise
        finally:
            call.target.meter.count(call.outcome, monotonic() - began)

    async def _serve(self, call: _Call, relay: Relay) -> None:
        """Answer the request. Raises ApiError while nothing has been sent."""
        lease: Lease | None = None
        well = False
        try:
            lease, reply = await self._place(call)
            await self._relay(call, reply, relay)
            well = call.outcome == "2xx"
        except UpstreamError as error:
            raise _bad_gateway(error) from error
        finally:
            if call.errand is not None:
                self._underway.end(call.errand, well=well)
            if lease is not None:
                lease.release()

    async def _place(self, call: _Call) -> tuple[Lease, Reply]:
        """Get a reply to begin, from another replica where one cannot be reached."""
        asked = monotonic()
        unreachable: list[str] = []
        while True:
            lease = self._enter(call.target, unreachable)
            try:
                reply = await self._ask(lease, call)
            except UnreachableError as error:
                log.warning("request %s: %s: %s", call.request_id, lease.instance, error)
                unreachable.append(lease.instance)
                lease.release()
            except BaseException:
                lease.release()
                raise
            else:
                call.target.meter.first_byte.observe(monotonic() - asked)
                return lease, reply

    def _enter(self, target: Target, unreachable: list[str]) -> Lease:
        if unreachable and not target.has_ready(unreachable):
            raise _all_unreachable(target)
        return self._traffic.enter(target.uid, unreachable)

    async def _ask(self, lease: Lease, call: _Call) -> Reply:
        if self._links or call.asked.request_id:
            call.errand = self._underway.begin(call.request_id, lease.address)
        seconds = self._limits.first_byte_seconds
        if seconds is None:
            return await self._upstream.send(lease.address, call.head, call.body)
        try:
            async with asyncio.timeout(seconds):
                return await self._upstream.send(lease.address, call.head, call.body)
        except TimeoutError as error:
            message = f"The engine did not begin to answer within {seconds:g} seconds."
            raise ApiError(504, message, code="engine_timeout", source="engine") from error

    async def _relay(self, call: _Call, reply: Reply, relay: Relay) -> None:
        call.outcome = _outcome(reply.status)
        try:
            await relay.pass_on(reply, stream=call.asked.stream, change=call.change)
        except BrokenReplyError as error:
            call.outcome = "5xx"
            log.warning("request %s: reply broken off: %s", call.request_id, error)
        finally:
            reply.close()


def _content_type(headers: Headers) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")


def _outcome(status: int) -> str:
    return f"{status // 100}xx"


def _wrong_type(target: Target, path: str, types: tuple[ModelType, ...]) -> ApiError:
    message = f"{path} is for {' and '.join(types)} models; {target.uid} is of type {target.exposure.model_type}."
    return ApiError(400, message, code="wrong_model_type", param="model")


def _bad_gateway(error: UpstreamError) -> ApiError:
    code = "engine_malformed" if isinstance(error, MalformedError) else "engine_died"
    return ApiError(502, str(error), code=code, source="engine")


def _all_unreachable(target: Target) -> ApiError:
    message = f"No replica of the model {target.uid} can be reached; they are being looked after."
    return ApiError(503, message, code="engine_unreachable", source="engine", headers=[retry_after(2)])

"""Passes an engine's reply on to the client.

* An error is put into our envelope, with `source: engine`. What an engine says about its own fault (500) is
  for its log and ours, not for strangers; the client gets an id to ask about.
* A stream (server-sent events, or whatever was asked for with `stream: true`) goes out piece by piece, as it
  comes. Events are sent whole, so that when the engine dies the client gets one error event and a proper end
  instead of half an event.
* So does sound of which the engine does not say the length: it is made while it is sent.
* A reply that is changed on its way (`http.links`) is gathered whole, up to `MAX_CHANGED` bytes.
* Anything else is gathered up to `GATHER` bytes before the first byte is sent: short replies need one write,
  and an engine that dies until then gives a clean 502. A longer reply is passed on as it comes; a death
  then closes the connection, which is the only way left to say that the reply is not whole.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.types import Send

from xserve.http.body import Body
from xserve.http.departure import Departure
from xserve.http.errors import ApiError, Headers, send_json
from xserve.http.wire import MalformedError, Reply, UpstreamError

GATHER = 1 << 20
"""Bytes of a reply that are held back while it is not known whether it will be whole."""
MAX_EVENT = 1 << 20
"""Bytes of one unfinished event that are held back."""

MAX_CHANGED = 128 << 20
"""Bytes of a reply that is changed; ten large images have about half of it."""

_PASSED_ON = frozenset({
    b"cache-control",
    b"content-disposition",
    b"content-encoding",
    b"content-language",
    b"content-type",
    b"retry-after",
    b"x-accel-buffering",
})  # fmt: skip
_ENDS_OF_EVENT = (b"\n\n", b"\r\n\r\n")

Change = Callable[[bytes], Awaitable[bytes]]
"""From the body of a reply to the one that the client gets."""

log = logging.getLogger(__name__)


class BrokenReplyError(Exception):
    """The reply broke off after its first bytes were sent. An event stream has been ended properly; any other
    reply is unfinished, and the server closes the connection of an application that returns like that."""


class Relay:
    """One reply on its way to one client."""

    __slots__ = ("_departure", "_request_id", "_send")

    def __init__(self, send: Send, departure: Departure, request_id: str) -> None:
        self._send = send
        self._departure = departure
        self._request_id = request_id

    async def pass_on(self, reply: Reply, *, stream: bool, change: Change | None = None) -> None:
        """Send the reply, changed where it is not a stream. Raises UpstreamError and what `change` raises while
        nothing was sent, BrokenReplyError afterwards."""
        kind = reply.header(b"content-type") or b""
        if reply.status >= 400:
            await self._error(reply)
        elif kind.startswith(b"text/event-stream"):
            await self._events(reply)
        elif change is not None:
            await self._changed(reply, change)
        elif stream:
            await self._pieces(reply, b"")
        elif kind.startswith(b"audio/") and reply.header(b"content-length") is None:
            await self._pieces(reply, await reply.read())
        else:
            await self._whole(reply)

    async def _changed(self, reply: Reply, change: Change) -> None:
        body = bytes(await _gather(reply, b"", MAX_CHANGED))
        if not reply.complete or len(body) > MAX_CHANGED:
            raise MalformedError(f"The engine's reply is longer than {MAX_CHANGED} bytes.")
        body = await change(body)
        self._departure.stop_watching()
        await self._start(reply, b"%d" % len(body))
        await self._send({"type": "http.response.body", "body": body})

    async def _whole(self, reply: Reply) -> None:
        body: Body = await reply.read()
        if not reply.complete:
            body = await _gather(reply, body)
        if not reply.complete:
            await self._pieces(reply, body)
            return
        self._departure.stop_watching()
        headers = [*_headers(reply), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _pieces(self, reply: Reply, first: Body) -> None:
        await self._start(reply, reply.header(b"content-length"))
        if first:
            await self._piece(first)
        try:
            while piece := await reply.read():
                await self._piece(piece)
        except UpstreamError as error:
            raise BrokenReplyError(str(error)) from error
        await self._end(b"")

    async def _events(self, reply: Reply) -> None:
        await self._start(reply)
        held = b""
        try:
            while piece := await reply.read():
                whole, held = _whole_events(held + piece if held else piece)
                if whole:
                    await self._piece(whole)
        except UpstreamError as error:
            await self._end(ApiError(502, str(error), code="engine_died", source="engine").event())
            raise BrokenReplyError(str(error)) from error
        await self._end(held)

    async def _error(self, reply: Reply) -> None:
        body = await _gather(reply, b"")
        error = self._translate(reply.status, bytes(body))
        wait = reply.header(b"retry-after")
        self._departure.stop_watching()
        headers: Headers = () if wait is None else ((b"retry-after", wait),)
        await send_json(self._send, error.status, error.body(), headers)

    def _translate(self, status: int, body: bytes) -> ApiError:
        said = _said(body)
        if status == 500:
            log.warning("request %s: the engine answered 500: %.2000s", self._request_id, said["message"])
            said["message"] = f"The engine failed; its log knows more (request {self._request_id})."
        return ApiError(status, source="engine", **said)

    async def _start(self, reply: Reply, length: bytes | None = None) -> None:
        headers = _headers(reply)
        if length is not None:
            headers.append((b"content-length", length))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})

    async def _piece(self, piece: Body) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _end(self, last: bytes) -> None:
        self._departure.stop_watching()
        await self._send({"type": "http.response.body", "body": last})


async def _gather(reply: Reply, body: Body, limit: int = GATHER) -> Body:
    """What follows, until the reply is whole or more than `limit` bytes are there."""
    while len(body) <= limit and (piece := await reply.read()):
        if isinstance(body, bytes):
            body = bytearray(body)
        body += piece
    return body


def _headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    return [pair for pair in reply.headers if pair[0] in _PASSED_ON]


def _whole_events(data: bytes) -> tuple[bytes, bytes]:
    """(whole events, the unfinished rest). A rest beyond `MAX_EVENT` counts as whole."""
    if data.endswith(_ENDS_OF_EVENT):
        return data, b""
    cut = max(data.rfind(end) + len(end) if end in data else 0 for end in _ENDS_OF_EVENT)
    return (data[:cut], data[cut:]) if len(data) - cut <= MAX_EVENT else (data, b"")


def _said(body: bytes) -> dict[str, Any]:
    """Message, type, code and param of an engine's error, in whichever of the usual shapes it came."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = body.decode("utf-8", "replace").strip()
    if not isinstance(content, dict):
        return {"message": str(content) or "The engine gave no reason."}
    inner = content.get("error", content)
    if not isinstance(inner, dict):
        return {"message": str(inner)}
    message = inner.get("message") or inner.get("detail") or body.decode("utf-8", "replace")
    known = {name: inner[name] for name in ("type", "code", "param") if isinstance(inner.get(name), str)}
    return {"message": str(message), **known}

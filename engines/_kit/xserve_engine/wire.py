"""HTTP/1.1 on a unix socket, as small as an engine needs it: keep-alive, streams, and cancels.

One task per connection reads a request and runs the handler in a task of its own, while a second one waits
for the end of the client's side. Whichever comes first wins: a departed client cancels the handler, at
whatever it awaits, so an engine's work is cancelled by catching nothing. A client that half-closes counts as
departed; the gateway never does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # how JSON may write half of a character
MAX_HEAD = 64 * 1024  # bytes of request line and headers
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole."""

    method: str
    path: str  # without the query
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises `HttpError` 400 if it is none."""
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise HttpError(400, f"The body is not JSON: {error}.") from None
        except RecursionError:
            raise HttpError(400, "The body is nested too deep.") from None
        if not isinstance(value, dict):
            raise HttpError(400, "The body must be a JSON object.")
        if SURROGATE.search(self.body):
            _refuse_halves(value)
        return value


class HttpError(Exception):
    """An answer that is an error, in OpenAI's shape."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "code": status}}


@dataclass(slots=True)
class Reply:
    """The answer under way. `writer` is there for those who must misbehave."""

    writer: asyncio.StreamWriter
    started: bool = False
    _chunked: bool = field(default=False)

    async def send(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        """Answer at once, with this body."""
        self.started = True
        self.writer.write(_head(status, kind, f"content-length: {len(body)}") + body)
        await self.writer.drain()

    async def json(self, value: object, status: int = 200) -> None:
        """Answer with a JSON value."""
        await self.send(json.dumps(value).encode(), status=status)

    async def event(self, value: object) -> None:
        """Send one server-sent event: a JSON value, or a string as it is. Begins the stream if need be."""
        data = value if isinstance(value, str) else json.dumps(value)
        await self.write(f"data: {data}\n\n".encode())

    async def write(self, data: bytes, kind: str = "text/event-stream") -> None:
        """Send a piece of a stream."""
        if not self.started:
            self.started = self._chunked = True
            self.writer.write(_head(200, kind, "transfer-encoding: chunked"))
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def finish(self) -> None:
        """End the stream, if one was begun."""
        if self._chunked:
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()


Handler = Callable[[Request, Reply], Awaitable[None]]


class _Reader(asyncio.StreamReader):
    """A reader that knows when the other side is gone, also while nobody reads."""

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD)
        self.departed = asyncio.Event()

    def feed_eof(self) -> None:
        self.departed.set()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        self.departed.set()
        super().set_exception(exc)


def _refuse_halves(value: object) -> None:
    """Refuse a text with half of a character, which no tokenizer and no UTF-8 takes."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise HttpError(400, "The body has a text that is not Unicode: half of a surrogate pair.") from None


async def serve(path: str, handler: Handler) -> asyncio.Server:
    """Listen on the unix socket `path`, in place of a stale one; only this user may connect."""
    clear(path)

    def accept() -> asyncio.StreamReaderProtocol:
        reader = _Reader()
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: _converse(reader, writer, handler))

    server = await asyncio.get_running_loop().create_unix_server(accept, path)
    os.chmod(path, 0o600)
    return server


def clear(path: str) -> None:
    """Remove a socket file that a predecessor left, so that the path can be bound."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


async def _converse(reader: _Reader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    try:
        while request := await _read_request(reader):
            if not await _answer(request, reader, writer, handler):
                break
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        pass  # gone, or not speaking HTTP: there is nobody to tell
    finally:
        writer.close()


async def _answer(request: Request, reader: _Reader, writer: asyncio.StreamWriter, handler: Handler) -> bool:
    """Run the handler against the client's departure; whether the connection can be used again."""
    reply = Reply(writer)
    work = asyncio.create_task(_guard(handler, request, reply))
    departure = asyncio.create_task(reader.departed.wait())
    await asyncio.wait({work, departure}, return_when=asyncio.FIRST_COMPLETED)
    departure.cancel()
    if not work.done():
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await work and not reader.departed.is_set()
    return False


async def _guard(handler: Handler, request: Request, reply: Reply) -> bool:
    """Turn what the handler raises into an answer; whether the answer is whole."""
    try:
        await handler(request, reply)
        await reply.finish()
    except ConnectionError:
        return False
    except Exception as error:
        if not isinstance(error, HttpError):
            traceback.print_exc(file=sys.stderr)
            error = HttpError(500, str(error), "server_error")
        if reply.started:
            return False
        await reply.json(error.body, error.status)
    return True


async def _read_request(reader: _Reader) -> Request | None:
    """The next request; None if the client is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    fields = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    path, _, query = target.partition("?")
    return Request(method, path, headers, await _read_body(reader, headers), dict(parse_qsl(query)))


async def _read_body(reader: _Reader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body


def _head(status: int, kind: str, length: str) -> bytes:
    reason = REASONS.get(status, "Error")
    return f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\n{length}\r\n\r\n".encode()

"""One keep-alive HTTP/1.1 connection to an engine: write a request, parse its reply as it arrives.

llhttp (httptools) parses; a `Reply` collects what was parsed until somebody reads it. The reader is woken
once per network read, not once per parsed piece, so a short reply costs one wake-up. When more than
`HIGH_WATER` bytes lie unread the socket is no longer read, and the engine feels it. Whoever loses interest
calls `Reply.close`, which closes the connection unless the reply was read by the parser to its end: engines
take the closed connection as the sign to cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

HIGH_WATER = 64 * 1024
"""Unread bytes of a body beyond which the engine is no longer read from."""
MAX_HEAD = 64 * 1024
"""Bytes of status line and headers; engines send some hundreds."""


class UpstreamError(Exception):
    """An engine that could not be asked or did not answer properly. The text is a sentence for people."""


class UnreachableError(UpstreamError):
    """There was no connection, so the engine has not seen the request."""


class DiedError(UpstreamError):
    """The engine closed the connection before the end of its reply."""


class MalformedError(UpstreamError):
    """The engine's reply is not HTTP, or is beyond the limits."""


class Reply:
    """An engine's answer: status and headers, then the body piece by piece."""

    __slots__ = (
        "_connection",
        "_error",
        "_pieces",
        "_size",
        "_waiter",
        "complete",
        "headers",
        "started",
        "status",
        "until_close",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: UpstreamError | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []  # names in lower case
        self.started = False  # the headers are all there
        self.complete = False  # the body has been received (perhaps not yet read) to its end
        self.until_close = False  # neither length nor chunks: the connection's end is the body's end

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    async def read(self) -> bytes:
        """What has arrived of the body since the last call, at least one byte; empty at the end.

        Raises DiedError or MalformedError, but only after every good byte has been handed out.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.complete:
                return b""
            await self._wait()
        return self._take()

    def close(self) -> None:
        """Lose interest: an unfinished reply's connection is closed at once, without waiting for anything."""
        if not self.complete:
            self._connection.abort()

    async def _begin(self) -> None:
        """Wait for the headers."""
        while not self.started:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._size > HIGH_WATER and not self.complete:
            self._connection.resume()
        self._size = 0
        return body

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        self._error = error
        self._wake()


class Connection(asyncio.Protocol):
    """A connection to an engine's unix socket, carrying one request at a time."""

    def __init__(self, on_idle: Callable[[Connection], None], on_lost: Callable[[Connection], None]) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._reply: Reply | None = None
        self._head_bytes = 0
        self._keep = False
        self._paused = False
        self.idle_since = 0.0  # on the loop's clock; kept by the pool
        self.touched = False  # a byte of the present reply has come

    async def ask(self, head: bytes, body: bytes | bytearray) -> Reply:
        """Send a request (`head` ends with the empty line) and wait for the reply's headers.

        Being cancelled closes the connection. Raises DiedError or MalformedError.
        """
        reply = self._reply = Reply(self)
        self._head_bytes = 0
        self.touched = False
        if len(body) < HIGH_WATER:
            self._transport.write(head + body)  # one system call
        else:
            self._transport.writelines((head, body))
        try:
            await reply._begin()
        except BaseException:
            self.abort()
            raise
        return reply

    def abort(self) -> None:
        """Close at once; what is not yet written is dropped."""
        self._transport.abort()

    def resume(self) -> None:
        """Read from the engine again."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self.abort()  # nobody asked: an engine that talks out of turn is not trusted with a request
            return
        self.touched = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep = False
            if not reply.complete:
                self._fail(reply, MalformedError(f"The engine's reply is not valid HTTP: {error}."))
                return
        if reply.complete:
            self._finish(reply)
        elif not reply.started:
            self._count_head(reply, len(data))
        else:
            if reply._size > HIGH_WATER:
                self._pause()
            reply._wake()

    def eof_received(self) -> None:
        """Let the transport close itself; `connection_lost` follows."""

    def connection_lost(self, error: Exception | None) -> None:
        reply, self._reply = self._reply, None
        self._on_lost(self)
        if reply is None:
            return
        if reply.started and reply.until_close and error is None:
            reply.complete = True
            reply._wake()
        else:
            when = "in the middle of its reply" if reply.started else "before it replied"
            reply._fail(DiedError(f"The engine closed the connection {when}."))

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._reply is None or self._reply.complete:
            raise ValueError("a reply that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reply is not None and not self._reply.started:
            self._reply.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        reply = self._reply
        assert reply is not None
        reply.status = self._parser.get_status_code()
        if reply.status < 200:  # 100 Continue and the like: the real reply follows
            reply.headers.clear()
            return
        reply.started = True
        reply.until_close = not _is_framed(reply)

    def on_body(self, piece: bytes) -> None:
        assert self._reply is not None
        self._reply._add(piece)

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is None or not reply.started:
            return
        reply.complete = True
        self._keep = self._parser.should_keep_alive()  # the parser knows only now

    def _finish(self, reply: Reply) -> None:
        self._reply = None
        self.resume()
        reply._wake()
        if self._keep:
            self._on_idle(self)
        else:
            self._transport.close()

    def _count_head(self, reply: Reply, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD:
            self._fail(reply, MalformedError(f"The engine sent more than {MAX_HEAD} bytes of headers."))

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _fail(self, reply: Reply, error: UpstreamError) -> None:
        self._reply = None
        reply._fail(error)
        self.abort()


def _is_framed(reply: Reply) -> bool:
    """Whether the body's end is known from the headers."""
    if reply.status in (204, 304):
        return True
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in reply.headers)

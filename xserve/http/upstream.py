"""The client that talks to engines: a pool of keep-alive connections per unix socket.

A request takes the connection that was idle for the shortest time, or opens one. Idle connections are
closed before an engine would close them (usual keep-alive: five seconds), which leaves a small window in
which the engine closes a connection just as we write to it; such a request is sent once more, on a fresh
connection to the same engine, and only if not one byte of a reply had come. It is never sent to another
replica then: a request that kills engines must not be handed round.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from xserve.http.wire import Connection, DiedError, MalformedError, Reply, UnreachableError

IDLE_SECONDS = 4.0
"""How long a connection is kept for reuse; uvicorn and cpp-httplib close theirs after five seconds."""
CONNECT_SECONDS = 5.0
"""How long to try again while an engine's accept queue is full."""
CONNECT_PAUSE = 0.01
MAX_CONNECTIONS = 1024
"""Connections to one engine; beyond that a request is refused."""


@dataclass(slots=True)
class _Pool:
    """The connections to one socket."""

    idle: deque[Connection] = field(default_factory=deque)  # longest idle first
    places: set[object] = field(default_factory=set)  # one for each connection that is open or being opened


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that was read whole."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Upstream:
    """Connections to all engines. Belongs to one event loop."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS, max_connections: int = MAX_CONNECTIONS) -> None:
        self._idle_seconds = idle_seconds
        self._max_connections = max_connections
        self._pools: dict[str, _Pool] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def send(self, address: str, head: bytes, body: bytes | bytearray = b"") -> Reply:
        """Send a request to the unix socket at `address`; return once the reply's headers are there.

        Raises UnreachableError (the engine has seen nothing), DiedError or MalformedError. Being cancelled
        closes the connection at once.
        """
        connection = self._reuse(address)
        if connection is None:
            return await (await self._connect(address)).ask(head, body)
        try:
            return await connection.ask(head, body)
        except DiedError:
            if connection.touched:
                raise
        try:
            connection = await self._connect(address)
        except UnreachableError as error:
            raise DiedError("The engine ended before it replied.") from error
        return await connection.ask(head, body)

    async def fetch(
        self, address: str, method: str, path: str, body: bytes = b"", *, timeout: float, limit: int = 1 << 20
    ) -> Answer:
        """Ask for a small thing and read it whole: at most `timeout` seconds and `limit` bytes.

        Raises TimeoutError besides what `send` raises.
        """
        headers = [(b"content-type", b"application/json")] if body else []
        head = request_head(request_line(method, path), len(body), headers)
        async with asyncio.timeout(timeout):
            reply = await self.send(address, head, body)
            try:
                content = await _read_all(reply, limit)
            finally:
                reply.close()
        return Answer(reply.status, tuple(reply.headers), content)

    def forget(self, address: str) -> None:
        """Close the idle connections to a socket whose engine goes."""
        pool = self._pools.get(address)
        while pool and pool.idle:
            pool.idle.popleft().abort()

    def close(self) -> None:
        """Close all idle connections; busy ones end with their requests."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for address in list(self._pools):
            self.forget(address)

    def idle(self, address: str) -> int:
        """How many connections wait to be used again."""
        pool = self._pools.get(address)
        return len(pool.idle) if pool else 0

    def _reuse(self, address: str) -> Connection | None:
        pool = self._pools.get(address)
        return pool.idle.pop() if pool and pool.idle else None

    async def _connect(self, address: str) -> Connection:
        pool = self._pools.setdefault(address, _Pool())
        if len(pool.places) >= self._max_connections:
            raise UnreachableError(f"The engine already has {len(pool.places)} connections; no more are opened.")
        place = object()
        pool.places.add(place)
        try:
            return await self._open(address, pool, place)
        except BaseException:
            self._lost(address, pool, place, None)
            raise

    async def _open(self, address: str, pool: _Pool, place: object) -> Connection:
        """Connect, waiting a little where the engine does not accept quickly enough."""
        loop = asyncio.get_running_loop()

        def make() -> Connection:
            return Connection(
                lambda connection: self._rest(pool, connection),
                lambda connection: self._lost(address, pool, place, connection),
            )

        deadline = loop.time() + CONNECT_SECONDS
        while True:
            try:
                _, connection = await loop.create_unix_connection(make, address)
            except BlockingIOError:  # the accept queue of a unix socket is full
                if loop.time() > deadline:
                    raise UnreachableError("The engine does not accept connections.") from None
                await asyncio.sleep(CONNECT_PAUSE)
            except OSError as error:
                raise UnreachableError(f"The engine cannot be reached: {error.strerror or error}.") from error
            else:
                return connection

    def _rest(self, pool: _Pool, connection: Connection) -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        pool.idle.append(connection)
        if self._sweeper is None:
            self._sweep_later()

    def _lost(self, address: str, pool: _Pool, place: object, connection: Connection | None) -> None:
        """Free the place. Told twice where the asker left in the very moment in which the connection was made."""
        pool.places.discard(place)
        if connection is not None and connection in pool.idle:
            pool.idle.remove(connection)
        if not pool.places and self._pools.get(address) is pool:
            del self._pools[address]

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(self._idle_seconds / 2, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; go on only while something is idle."""
        self._sweeper = None
        stale = asyncio.get_running_loop().time() - self._idle_seconds
        for pool in self._pools.values():
            while pool.idle and pool.idle[0].idle_since <= stale:
                pool.idle.popleft().abort()
        if any(pool.idle for pool in self._pools.values()):
            self._sweep_later()


def request_line(method: str, path: str) -> bytes:
    """The beginning of a request's head."""
    return f"{method} {path} HTTP/1.1\r\nhost: engine\r\n".encode("ascii")


def request_head(line: bytes, length: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head of a request. Header values with line breaks are left out: they would be headers of their own."""
    head = line
    for name, value in headers:
        if b"\r" not in value and b"\n" not in value:
            head += b"%b: %b\r\n" % (name, value)
    return head + b"content-length: %d\r\n\r\n" % length


async def _read_all(reply: Reply, limit: int) -> bytes:
    body = bytearray()
    while piece := await reply.read():
        body += piece
        if len(body) > limit:
            raise MalformedError(f"The engine's reply is longer than {limit} bytes.")
    return bytes(body)

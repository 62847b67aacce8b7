"""A scripted engine on a real unix socket, a gateway before it, and the real listener in front of an application."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import uvloop

from xserve.core.exposure import Exposure
from xserve.http.guard import Guard, GuardRules
from xserve.http.listener import Listener
from xserve.http.protocol import ConnectionLimits
from xserve.http.proxy import Proxy, ProxyLimits
from xserve.http.sockets import bind_tcp
from xserve.http.traffic import Traffic
from xserve.http.upstream import Upstream


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """The daemon's loop, which differs from asyncio's in sockets and errors."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a short path: unix sockets allow about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="xs-") as path:
        yield Path(path)


@dataclass
class Exchange:
    """One request that an engine received, and the means to answer it."""

    engine: Engine
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    body: bytes

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        await self.write(head.encode() + body)

    async def begin_stream(self, kind: str = "text/event-stream") -> None:
        await self.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self) -> None:
        await self.write(b"0\r\n\r\n")

    async def until_client_closes(self) -> None:
        while await self.reader.read(65536):
            pass
        self.engine.abandoned.set()

    def die(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Exchange], Awaitable[None]]


@dataclass
class Engine:
    """Runs `script` for each request; `abandoned` is set when a client closes while it is waited for."""

    script: Script
    path: str
    requests: list[Exchange] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        Path(self.path).unlink(missing_ok=True)
        self.hang_up()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while not writer.transport.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
                exchange = Exchange(self, reader, writer, head, await reader.readexactly(length))
                self.requests.append(exchange)
                self.asked.set()
                await self.script(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def start_engine(folder: Path) -> AsyncIterator[Callable[[Script], Awaitable[Engine]]]:
    engines: list[Engine] = []

    async def start(script: Script) -> Engine:
        engine = Engine(script, str(folder / f"e{len(engines)}"))
        await engine.start()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        await engine.stop()


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., Awaitable[Listener]]]:
    """Serve an application on a free port of loopback."""
    async with AsyncExitStack() as stack:

        async def start(app: Any, limits: ConnectionLimits | None = None) -> Listener:
            return await stack.enter_async_context(_listening(app, limits))

        yield start


@asynccontextmanager
async def _listening(app: Any, limits: ConnectionLimits | None) -> AsyncIterator[Listener]:
    listener = Listener(app, bind_tcp("127.0.0.1", 0), "tcp", limits)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop(grace=0)


class Gateway:
    """A gateway with one inference route and the model `m`; `uploads` are let through to it."""

    def __init__(self, path: str, *types: Any, links: bool = False, limits: ProxyLimits | None = None) -> None:
        self.drained: list[str] = []
        self.types = types
        self.traffic = Traffic(self.drained.append)
        self.upstream = Upstream()
        self.proxy = Proxy(self.traffic, self.upstream, limits)
        self.route = self.proxy.route(path, *types, links=links)
        self.app = Guard(self.route, GuardRules(uploads=frozenset({path})))
        self.listener: Any = None

    @property
    def port(self) -> int:
        return self.listener.port

    def publish(self, *engines: Engine, **exposure: Any) -> None:
        self.traffic.publish("m", Exposure(exposure.pop("model_type", self.types[0]), **exposure))
        self.traffic.set_endpoints("m", [(f"m-{n}", engine.path) for n, engine in enumerate(engines)])

    def busy(self) -> int:
        return sum(replica.in_flight for replica in self.traffic.resolve("m").replicas)

    def outcomes(self) -> dict[str, int]:
        return self.traffic.resolve("m").meter.requests

    def client(self) -> openai.AsyncOpenAI:
        url = f"http://127.0.0.1:{self.port}/v1"
        return openai.AsyncOpenAI(base_url=url, api_key="secret-key", max_retries=0, timeout=30)


@pytest.fixture
async def gateway(listen: Callable[..., Awaitable[Listener]]) -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    """Start a gateway before engines."""
    made: list[Gateway] = []

    async def start(
        *engines: Engine,
        path: str = "/v1/chat/completions",
        serves: str = "LLM",
        links: bool = False,
        limits: ProxyLimits | None = None,
        **exposure: Any,
    ) -> Gateway:
        gateway = Gateway(path, serves, links=links, limits=limits)
        gateway.listener = await listen(gateway.app)
        gateway.publish(*engines, **exposure)
        made.append(gateway)
        return gateway

    yield start
    for gateway in made:
        gateway.upstream.close()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for a condition, at most ten seconds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    return wait

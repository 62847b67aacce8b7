"""The little HTTP client of the health checks, against answers good and bad."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from xserve.core.events import Answered, Event, Loaded, Unhealthy
from xserve.core.manifest import Probe
from xserve.runtime.health import Answer, NoAnswerError, Watch, request
from xserve.runtime.settings import RuntimeSettings

Serve = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def serve(sockets: Path) -> AsyncIterator[Serve]:
    """Makes a server that says these bytes to everybody; it closes only after an EOF."""
    over, talks = asyncio.Event(), list[asyncio.Task[None]]()

    async def begin(said: bytes) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            if not said.endswith(b"EOF"):
                await over.wait()
            writer.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talks.append(asyncio.create_task(talk(reader, writer)))

        server = await asyncio.start_unix_server(accept, sockets / "server")
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        return str(sockets / "server")

    async with contextlib.AsyncExitStack() as stack:
        yield begin
        over.set()
        await asyncio.gather(*talks)


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 503 Loading model\r\ncontent-length: 0\r\n\r\n", 503, b""),
        (b"HTTP/1.0 200\r\n\r\nhello EOF", 200, b"hello EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nhell\r\n1\r\no\r\n0\r\n\r\n", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n20000\r\n" + b"x" * 131072, 200, b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 131072\r\n\r\n" + b"x" * 131072, 200, b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 131072, 200, b"x" * 65536),
    ],
    ids=["length", "empty", "until the end", "chunks", "a huge chunk", "a huge body", "without end"],
)
async def test_an_answer_is_read_to_its_end_or_to_the_cap(serve: Serve, said: bytes, status: int, body: bytes) -> None:
    assert await request(await serve(said), "/health", 60.0) == Answer(status, body)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK EOF",
        b"220 smtp ready\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    ],
)
async def test_nonsense_is_no_answer_and_no_other_exception(serve: Serve, said: bytes) -> None:
    with pytest.raises(NoAnswerError, match=r"^no answer from /health: "):
        await request(await serve(said), "/health", 60.0)


async def test_silence_is_no_answer_after_the_deadline(serve: Serve) -> None:
    with pytest.raises(NoAnswerError, match=r"^no answer from /health within 0.01 s$"):
        await request(await serve(b""), "/health", 0.01)


async def test_no_socket_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match=r"No such file or directory \(ENOENT\)"):
        await request("/nowhere/socket", "/health", 60.0)


async def test_a_probe_without_an_answer_makes_it_unhealthy(sockets: Path) -> None:
    """The probe has a deadline of its own; the sentence says which request it was."""
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"POST"):
            await over.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    events: list[Event] = []
    async with await asyncio.start_unix_server(talk, sockets / "server"):
        settings = RuntimeSettings(probe_deadline=0.01)
        watch = Watch("one", str(sockets / "server"), "chat", settings, events.append)
        await watch.run("/health", Probe(path="/v1/x", body={}))
        over.set()

    sentence = "The readiness probe failed: no answer from /v1/x within 0.01 s."
    assert events == [Loaded("one"), Unhealthy("one", sentence)]


async def test_misses_count_only_in_a_row(sockets: Path) -> None:
    """Two misses, an answer, then three misses: sick after the third, and told once."""
    answers = iter([200, 500, 500, 200, 500, 500, 500])
    asked = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % next(answers))
        writer.close()

    events: list[Event] = []
    async with await asyncio.start_unix_server(talk, sockets / "server"):
        settings = RuntimeSettings(health_interval=0.001, health_deadline=60.0)
        await Watch("one", str(sockets / "server"), "chat", settings, events.append).run("/health", None)

    sick = Unhealthy("one", "3 health checks in a row failed: /health answered with status 500.")
    assert events == [Loaded("one"), Answered("one", probed=False), sick]
    assert asked == 7


async def test_a_watch_that_fails_itself_calls_the_replica_unhealthy(tmp_path, monkeypatch) -> None:
    """A fault of ours must not leave a replica loading for ever."""
    reports: list[Event] = []

    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Watch, "_until_loaded", broken)
    await Watch("a1", str(tmp_path / "a1.sock"), "chat", RuntimeSettings(), reports.append).run("/health", None)
    assert reports == [Unhealthy("a1", "it cannot be watched: a fault of ours")]

"""What stands between client and engine costs: processor time, requests per second, latency, streaming.

The whole daemon runs before a null engine. It is held against uvicorn answering by itself, and against the
engine's own socket, in turns within one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

from .daemon import ENVIRONMENT, Daemon, config_directory, definition, place, serving
from .figure import Figure
from .load import STREAM_BODY, ask, load, request

_ROUNDS = 3
_SECONDS = 4.0
_CONNECTIONS = 16
_STREAMS = 16
_EVENTS = 100  # of each of the null engine's streams, one every 10 ms

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def measure() -> Iterator[Figure]:
    """All figures of the data path."""
    with config_directory() as config:
        place(config / "models.d" / "null.json", definition("null", "/dev/null"))
        place(config / "deploy.yaml", {"version": 1, "models": {"null": {"engine": "null"}}})
        with serving(config) as daemon:
            engine = daemon.engine_socket("null")
            yield from _throughput(daemon)
            yield from asyncio.run(_beside_engine(engine, daemon.port))


def _throughput(daemon: Daemon) -> Iterator[Figure]:
    with _floor() as (pid, port):
        load(pid, port, 1.0, _CONNECTIONS)  # warm up
        load(daemon.pid, daemon.port, 1.0, _CONNECTIONS)
        pairs = [
            (load(pid, port, _SECONDS, _CONNECTIONS), load(daemon.pid, daemon.port, _SECONDS, _CONNECTIONS))
            for _ in range(_ROUNDS)
        ]
    alone, ours = sorted(pairs, key=lambda pair: pair[1].cost / pair[0].cost)[_ROUNDS // 2]
    note = f"the middle one of {_ROUNDS} rounds of {_SECONDS:g} s, {_CONNECTIONS} connections"
    yield Figure("uvicorn alone, processor time per request", alone.cost, "us", note=note)
    yield Figure("gateway, processor time per request", ours.cost, "us", note="the same round")
    yield Figure("gateway, processor time over uvicorn alone", ours.cost / alone.cost, "x", most=3.0)
    yield Figure("uvicorn alone, requests per second", alone.rate, "/s")
    yield Figure("gateway, requests per second", ours.rate, "/s", note="one process, the null engine behind it")


@contextlib.contextmanager
def _floor() -> Iterator[tuple[int, int]]:
    """uvicorn answering by itself: its process id and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.floor"], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


async def _beside_engine(engine: str, port: int) -> list[Figure]:
    def direct() -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        return asyncio.open_unix_connection(engine)

    def through() -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        return asyncio.open_connection("127.0.0.1", port)

    rounds = [(await _latency(direct), await _latency(through)) for _ in range(_ROUNDS + 1)][1:]
    added = min(ours - own for own, ours in rounds) * 1000
    ratio = statistics.median([await _streaming(through) / await _streaming(direct) for _ in range(_ROUNDS)])
    return [
        Figure(
            "gateway, added latency, p50", added, "ms", most=0.3, note="one request at a time, over the engine's socket"
        ),
        Figure(
            "streaming, tokens/s over the engine's own", ratio, "x", least=0.97, note="16 streams of 100 tokens/s each"
        ),
    ]


async def _latency(connect: Connect) -> float:
    """Median seconds of a request, one at a time."""
    reader, writer = await connect()
    taken = []
    for _ in range(500):
        began = time.perf_counter()
        await ask(reader, writer)
        taken.append(time.perf_counter() - began)
    writer.close()
    return statistics.median(taken)


async def _streaming(connect: Connect) -> float:
    """Events per second over all streams at once."""

    async def stream() -> None:
        reader, writer = await connect()
        writer.write(request(STREAM_BODY))
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(_STREAMS)))
    return _STREAMS * _EVENTS / (time.perf_counter() - began)

"""Clients that ask as fast as they are answered, each with one request under way, over connections that are kept.

They read no more of an answer than it takes to find its end: what they cost is taken from a machine that computes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from .load import ask
from .row import Row

Rate = Callable[[int, float], float]  # requests at once, seconds -> items per second
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
_LONGEST = 2**24  # bytes of a stream that is read whole


def over_socket(path: str) -> Connect:
    """To an engine."""
    return lambda: asyncio.open_unix_connection(path, limit=_LONGEST)


def over_port(port: int) -> Connect:
    """To the daemon."""
    return lambda: asyncio.open_connection("127.0.0.1", port, limit=_LONGEST)


def clients(row: Row, connect: Connect) -> Rate:
    """How fast clients are answered. Who has an answer when the time is over asks no more; all answers count."""
    return lambda at_once, seconds: asyncio.run(_rate(row, connect, at_once, seconds))


async def _rate(row: Row, connect: Connect, at_once: int, seconds: float) -> float:
    questions = itertools.cycle(row.questions)
    connections = [await connect() for _ in range(at_once)]
    began = time.perf_counter()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        done = 0
        while not done or time.perf_counter() < began + seconds:
            question = next(questions)
            done += row.count(await ask(reader, writer, question.wire), question)
        return done

    done = sum(await asyncio.gather(*(client(*connection) for connection in connections)))
    taken = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    return done / taken

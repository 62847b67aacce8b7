"""Clients that ask as fast as they are answered, each with one request under way, over connections that are kept.

A rate is taken while all of them are at it: the clock starts when as many requests are answered as there are clients,
and stops at a multiple of that, so that answers that come in bunches, as those of a batch do, are counted in whole
bunches. What is still under way at the end is left. Of an answer no more is read than it takes to find its end: what
clients cost is taken from the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from .load import ask
from .row import Row

Rate = Callable[[int, float], float]  # requests at once, seconds at least -> items per second
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]
_LONGEST = 2**24  # bytes of a stream that is read whole


class Tally:
    """When how many items were answered, and whether that is enough for a rate."""

    def __init__(self, bunch: int, seconds: float) -> None:
        self._bunch, self._seconds = bunch, seconds
        self._answers: list[tuple[float, int]] = []  # time, items

    def add(self, items: int, now: float) -> bool:
        """Note an answer; whether the rate can be taken now."""
        self._answers.append((now, items))
        whole = len(self._answers) % self._bunch == 0 and len(self._answers) > self._bunch
        return whole and now >= self._began + self._seconds

    @property
    def rate(self) -> float:
        """Items per second after the first bunch."""
        items = sum(items for _, items in self._answers[self._bunch :])
        return items / (self._answers[-1][0] - self._began)

    @property
    def _began(self) -> float:
        return self._answers[self._bunch - 1][0]


def over_socket(path: str) -> Connect:
    """To an engine."""
    return lambda: asyncio.open_unix_connection(path, limit=_LONGEST)


def over_port(port: int) -> Connect:
    """To the daemon."""
    return lambda: asyncio.open_connection("127.0.0.1", port, limit=_LONGEST)


def clients(row: Row, connect: Connect) -> Rate:
    """How fast so many clients are answered."""
    return lambda at_once, seconds: asyncio.run(_rate(row, connect, at_once, seconds))


async def _rate(row: Row, connect: Connect, at_once: int, seconds: float) -> float:
    questions = itertools.cycle(row.questions)
    tally = Tally(at_once, seconds)

    async def client(talk: _Talk) -> None:
        while True:
            question = next(questions)
            answer = await talk.ask(question.wire)
            if tally.add(row.count(answer, question), time.perf_counter()):
                return

    talks = [_Talk(connect) for _ in range(at_once)]
    tasks = [asyncio.create_task(client(talk)) for talk in talks]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return tally.rate
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for talk in talks:
            talk.leave()


class _Talk:
    """A connection, made again where the server closes it between two requests, as llama.cpp does after streams."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._streams: Streams | None = None

    async def ask(self, wire: bytes) -> bytes:
        """The body of the answer."""
        if self._streams:
            try:
                return await ask(*self._streams, wire)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if getattr(error, "partial", b""):
                    raise
                self.leave()
        self._streams = await self._connect()
        return await ask(*self._streams, wire)

    def leave(self) -> None:
        """Close it."""
        if self._streams:
            self._streams[1].close()

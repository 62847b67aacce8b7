"""Blocking model calls for many clients: what waits is put together into batches, run one after another in a thread.

A batch begins with the longest piece of the request whose turn it is, and is filled with the pieces nearest to it
in length, whoever sent them: a batch is padded to its longest piece, so alike lengths waste least. The turn goes
round, so one short question is not kept waiting by a request of a thousand texts. Nobody waits for a batch to fill
up; while one is run, the next gathers by itself.

A client that leaves takes its waiting pieces along; those in the running batch are finished and thrown away. A
batch that fails is run again request by request, so that one request's fault, or a batch too large for the memory,
harms nobody else.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from .wire import HttpError


class Sized(Protocol):
    """What a batch is made of."""

    @property
    def tokens(self) -> int:
        """Its length."""


P = TypeVar("P", bound=Sized)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch and how long the queue may grow."""

    pieces: int  # of a batch
    tokens: int  # of a batch, padding included; a single longer piece is a batch by itself
    waiting: int  # pieces; a request that finds nobody waiting is taken, however large


@dataclass(slots=True, eq=False)
class _Request(Generic[P, R]):
    """The pieces of one request, and what is known of their results."""

    group: Hashable
    left: list[tuple[int, int, P]]  # length, place and piece of those that are in no batch yet, the longest last
    results: list[R | None]
    missing: int  # results
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def near(self, length: int, count: int) -> list[tuple[int, int, P]]:
        """Up to `count` pieces on either side of a length."""
        middle = bisect.bisect_right(self.left, length, key=lambda entry: entry[0])
        return self.left[max(0, middle - count) : middle + count]

    def take(self, length: int, place: int) -> None:
        """Remove a piece."""
        self.left.pop(bisect.bisect_left(self.left, (length, place), key=lambda entry: entry[:2]))

    def settle(self, place: int, result: R) -> None:
        self.results[place] = result
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        self.left.clear()
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Seat(Generic[P, R]):
    """A piece in a batch."""

    request: _Request[P, R]
    tokens: int
    place: int  # among the request's pieces
    piece: P


class Batcher(Generic[P, R]):
    """A queue before `run`, which gets a batch in a thread of its own and returns one result for each piece."""

    def __init__(self, run: Callable[[Sequence[P]], Sequence[R]], limits: Limits) -> None:
        self.running = 0  # requests that wait for results
        self._run = run
        self._limits = limits
        self._requests: deque[_Request[P, R]] = deque()  # with pieces left, in the order of their turns
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._worker: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def waiting(self) -> int:
        """Pieces that are in no batch yet."""
        return sum(len(request.left) for request in self._requests)

    async def submit(self, pieces: Sequence[P], group: Hashable = None) -> list[R]:
        """The results of the pieces, in their order. Only requests of the same group meet in a batch.

        Raises `HttpError`: 429 if too many pieces wait, 503 while draining; and what `run` raised.
        """
        if not pieces:
            return []
        self._admit(len(pieces))
        left = sorted(((piece.tokens, place, piece) for place, piece in enumerate(pieces)), key=lambda entry: entry[:2])
        request: _Request[P, R] = _Request(group, left, [None] * len(pieces), len(pieces))
        self._requests.append(request)
        self._wake()
        self.running += 1
        try:
            await request.done
        finally:
            self.running -= 1
            request.left.clear()
        return request.results  # type: ignore[return-value]  # none is missing

    async def drain(self) -> None:
        """Refuse what comes from now on; return when everything that came before is done."""
        self._draining = True
        if self._worker:
            await self._worker

    def _admit(self, count: int) -> None:
        if self._draining:
            raise HttpError(503, "The model is about to leave and takes no new requests.", "unavailable_error")
        waiting = self.waiting
        if waiting and waiting + count > self._limits.waiting:
            raise HttpError(
                429,
                f"{waiting} inputs wait already, and no more than {self._limits.waiting} may. Try again later.",
                "rate_limit_error",
            )

    def _wake(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Run batch after batch until nothing waits."""
        while batch := self._next_batch():
            await self._attempt(batch)

    async def _attempt(self, batch: list[_Seat[P, R]]) -> None:
        """Run a batch and hand the results back. One that fails is run request by request."""
        pieces = [seat.piece for seat in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, pieces)
        except Exception as error:
            await self._divide(batch, error)
        else:
            for seat, result in zip(batch, results, strict=True):
                seat.request.settle(seat.place, result)

    async def _divide(self, batch: list[_Seat[P, R]], error: Exception) -> None:
        owners = list(dict.fromkeys(seat.request for seat in batch))
        if len(owners) == 1:
            owners[0].fail(error)
            return
        for owner in owners:
            await self._attempt([seat for seat in batch if seat.request is owner])

    def _compute(self, pieces: list[P]) -> Sequence[R]:
        results = self._run(pieces)
        if len(results) != len(pieces):
            raise RuntimeError(f"A batch of {len(pieces)} gave {len(results)} results.")
        return results

    def _next_batch(self) -> list[_Seat[P, R]]:
        """Take the pieces of the next batch out of the queue."""
        self._requests = deque(request for request in self._requests if request.left)
        if not self._requests:
            return []
        head = self._requests[0]
        self._requests.rotate(-1)
        length, place, _ = head.left[-1]
        alike = [
            _Seat(request, *entry)
            for request in self._requests
            if request.group == head.group
            for entry in request.near(length, self._limits.pieces)
        ]
        alike.sort(key=lambda seat: (seat.request is not head or seat.place != place, abs(seat.tokens - length)))
        batch = alike[: self._fitting([seat.tokens for seat in alike])]
        for seat in batch:
            seat.request.take(seat.tokens, seat.place)
        return batch

    def _fitting(self, lengths: Sequence[int]) -> int:
        """How many of the pieces, from the first on, make a batch."""
        longest = 0
        for count, length in enumerate(lengths):
            longest = max(longest, length)
            if count == self._limits.pieces or (count and longest * (count + 1) > self._limits.tokens):
                return count
        return len(lengths)

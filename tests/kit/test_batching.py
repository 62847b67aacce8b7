"""Requests of many clients meet in batches, and nobody's departure or fault harms another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from xserve_engine.batching import Batcher, Limits
from xserve_engine.wire import HttpError


@dataclass(frozen=True)
class Piece:
    name: str
    tokens: int = 1


class Model:
    """Echoes the names of pieces, in batches that it remembers, and only when told to go on."""

    def __init__(self, fault: Callable[[Sequence[Piece]], bool] = lambda _: False) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)
        self.fault = fault

    def run(self, pieces: Sequence[Piece]) -> list[str]:
        self.batches.append([piece.name for piece in pieces])
        self.entered.release()
        self.allowed.acquire(timeout=10)  # a test that fails holds up nobody
        if self.fault(pieces):
            raise ValueError(f"cannot read {pieces[0].name}")
        return [piece.name.upper() for piece in pieces]

    async def busy(self) -> None:
        """Wait until a batch has begun."""
        await asyncio.to_thread(self.entered.acquire)

    def go_on(self, batches: int = 100) -> None:
        self.allowed.release(batches)


def made(model: Model, pieces: int = 8, tokens: int = 1000, waiting: int = 100) -> Batcher[Piece, str]:
    return Batcher(model.run, Limits(pieces, tokens, waiting))


def named(names: str) -> list[Piece]:
    return [Piece(name) for name in names]


async def asked(batcher: Batcher[Piece, str], pieces: Sequence[Piece], group: object = None) -> asyncio.Task[list[str]]:
    """A request that is in the queue."""
    task = asyncio.create_task(batcher.submit(pieces, group))
    await asyncio.sleep(0)
    return task


async def test_results_come_in_the_order_of_the_pieces() -> None:
    model = Model()
    model.go_on()
    pieces = [Piece("b", 5), Piece("a", 1), Piece("d", 9), Piece("c", 3)]
    assert await made(model, pieces=2).submit(pieces) == ["B", "A", "D", "C"]
    assert model.batches == [["d", "b"], ["c", "a"]]


async def test_nothing_asked_is_nothing_run() -> None:
    model = Model()
    assert await made(model).submit([]) == []
    assert model.batches == []


async def test_what_comes_while_a_batch_is_run_is_put_together() -> None:
    model = Model()
    batcher = made(model)
    first = await asked(batcher, named("a"))
    await model.busy()
    others = [await asked(batcher, named(name)) for name in ("b", "cd", "e")]
    assert batcher.running == 4
    assert batcher.waiting == 4
    model.go_on()
    assert await first == ["A"]
    assert [await other for other in others] == [["B"], ["C", "D"], ["E"]]
    assert [sorted(batch) for batch in model.batches] == [["a"], ["b", "c", "d", "e"]]
    assert batcher.running == batcher.waiting == 0


async def test_a_batch_keeps_to_its_count() -> None:
    model = Model()
    model.go_on()
    await made(model, pieces=3).submit(named("abcdefgh"))
    assert [len(batch) for batch in model.batches] == [3, 3, 2]


async def test_a_batch_of_many_clients_keeps_to_its_count() -> None:
    model = Model()
    batcher = made(model, pieces=3)
    requests = [await asked(batcher, named(name)) for name in "abcdefgh"]
    model.go_on()
    await asyncio.gather(*requests)
    assert max(map(len, model.batches)) == 3


async def test_among_equals_who_came_first_is_served_first() -> None:
    model = Model()
    batcher = made(model, pieces=1)
    first = await asked(batcher, named("a"))
    await model.busy()
    others = [await asked(batcher, named(name)) for name in "bcd"]
    model.go_on()
    await asyncio.gather(first, *others)
    assert model.batches == [["a"], ["b"], ["c"], ["d"]]


async def test_a_batch_keeps_to_its_tokens_padding_included() -> None:
    model = Model()
    model.go_on()
    await made(model, tokens=20).submit([Piece("a", 10), Piece("b", 9), Piece("c", 1), Piece("d", 1)])
    assert [sorted(batch) for batch in model.batches] == [["a", "b"], ["c", "d"]]


async def test_a_piece_longer_than_a_batch_is_one_by_itself() -> None:
    model = Model()
    model.go_on()
    await made(model, tokens=20).submit([Piece("long", 50), Piece("short", 2)])
    assert model.batches == [["long"], ["short"]]


async def test_a_short_question_is_not_kept_waiting_by_a_long_request() -> None:
    model = Model()
    batcher = made(model, pieces=2)
    many = await asked(batcher, [Piece(f"m{number}", 50) for number in range(20)])
    await model.busy()
    one = await asked(batcher, [Piece("one", 5)])
    model.go_on(3)
    assert await one == ["ONE"]
    assert not many.done()
    model.go_on()
    assert len(await many) == 20


async def test_groups_do_not_meet() -> None:
    model = Model()
    batcher = made(model)
    first = await asked(batcher, named("a"))
    await model.busy()
    others = [await asked(batcher, named(name), group) for name, group in (("b", 1), ("c", 2), ("d", 1))]
    model.go_on()
    await asyncio.gather(first, *others)
    assert [sorted(batch) for batch in model.batches] == [["a"], ["b", "d"], ["c"]]


async def test_a_departed_clients_pieces_are_never_run() -> None:
    model = Model()
    batcher = made(model)
    first = await asked(batcher, named("a"))
    await model.busy()
    departed, stayed = await asked(batcher, named("bc")), await asked(batcher, named("d"))
    departed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await departed
    assert batcher.waiting == 1
    model.go_on()
    assert (await first, await stayed) == (["A"], ["D"])
    assert model.batches == [["a"], ["d"]]


async def test_a_client_that_leaves_during_its_batch_harms_nobody() -> None:
    model = Model()
    batcher = made(model)
    departed = await asked(batcher, named("a"))
    await model.busy()
    departed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await departed
    assert batcher.running == 0
    model.go_on()
    assert await batcher.submit(named("b")) == ["B"]


async def test_one_requests_fault_is_its_own() -> None:
    model = Model(fault=lambda pieces: any(piece.name == "bad" for piece in pieces))
    batcher = made(model)
    first = await asked(batcher, named("a"))
    await model.busy()
    bad, good = await asked(batcher, [Piece("bad")]), await asked(batcher, named("g"))
    model.go_on()
    with pytest.raises(ValueError, match="cannot read bad"):
        await bad
    assert (await first, await good) == (["A"], ["G"])


async def test_a_request_that_failed_has_nothing_left_in_the_queue() -> None:
    model = Model(fault=lambda pieces: True)
    batcher = made(model, pieces=1)
    model.go_on()
    with pytest.raises(ValueError, match="cannot read"):
        await batcher.submit(named("abc"))
    await batcher.drain()
    assert len(model.batches) == 1
    assert batcher.waiting == batcher.running == 0


async def test_a_model_that_loses_a_result_is_an_error() -> None:
    batcher: Batcher[Piece, str] = Batcher(lambda pieces: ["only one"], Limits(8, 1000, 100))
    with pytest.raises(RuntimeError, match="2 gave 1"):
        await batcher.submit(named("ab"))


async def test_a_full_queue_is_told_to_come_later() -> None:
    model = Model()
    batcher = made(model, waiting=3)
    first = await asked(batcher, named("a"))
    await model.busy()
    second = await asked(batcher, named("bc"))
    with pytest.raises(HttpError, match="2 inputs wait already, and no more than 3") as refused:
        await batcher.submit(named("de"))
    assert refused.value.status == 429
    third = await asked(batcher, named("f"))
    model.go_on()
    assert [await first, await second, await third] == [["A"], ["B", "C"], ["F"]]


async def test_a_request_larger_than_the_queue_is_taken_when_nobody_waits() -> None:
    model = Model()
    model.go_on()
    assert len(await made(model, waiting=3).submit(named("abcdefgh"))) == 8


async def test_draining_finishes_what_is_there_and_takes_no_more() -> None:
    model = Model()
    batcher = made(model, pieces=1)
    there = await asked(batcher, named("ab"))
    await model.busy()
    drained = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0)
    with pytest.raises(HttpError, match="about to leave") as refused:
        await batcher.submit(named("c"))
    assert refused.value.status == 503
    assert not drained.done()
    model.go_on()
    await drained
    assert await there == ["A", "B"]

"""How `infer` is called: plain functions in threads, coroutines in an event loop of their own.

Neither runs in the loop that serves the socket, so health answers whatever the model does. So many calls as there
are places run at once; the others wait, and one whose client left while it waited is never begun. A coroutine is
cancelled when its client leaves; a generator ends before its next piece. A plain function cannot be interrupted:
it runs to its end, keeps its place until then, and its answer is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from answers import encode
from tally import Tally
from xserve_engine.wire import HttpError

ENVELOPE = ("model", "args", "kwargs")  # members of a request that are no arguments themselves
Send = Callable[[str], Coroutine[Any, Any, None]]  # sends a piece of a stream


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one request."""

    args: Sequence[Any]
    named: Mapping[str, Any]


def read_call(body: Mapping[str, Any]) -> Call:
    """The call that a request asks for: `args` by place; by name the members of `kwargs` and all others."""
    args, inner = body.get("args") or [], body.get("kwargs") or {}
    if not isinstance(args, list):
        raise HttpError(400, "The member args must be a list: the arguments by place.")
    if not isinstance(inner, dict):
        raise HttpError(400, "The member kwargs must be an object: arguments by name.")
    outer = {name: value for name, value in body.items() if name not in ENVELOPE}
    if twice := sorted(outer.keys() & inner.keys()):
        raise HttpError(400, f"The argument {twice[0]} is given twice: in kwargs and beside it.")
    return Call(args, {**outer, **inner})


class Runner(Protocol):
    """Calls one model."""

    tally: Tally

    async def call(self, call: Call, send: Send) -> bytes | None:
        """The result as JSON; None where it came in pieces, each of which was sent as JSON."""


def runner_for(infer: Callable[..., Any], places: int) -> Runner:
    """What can call such a function, at most so often at once."""
    waits = inspect.iscoroutinefunction(infer) or inspect.isasyncgenfunction(infer)
    return Coroutines(infer, places) if waits else Threads(infer, places)


class Threads:
    """Calls plain functions and generators, each call in a thread."""

    def __init__(self, infer: Callable[..., Any], places: int) -> None:
        self.tally = Tally()
        self._infer = infer
        self._threads = ThreadPoolExecutor(places, "infer")

    async def call(self, call: Call, send: Send) -> bytes | None:
        """See `Runner`."""
        home, gone = asyncio.get_running_loop(), threading.Event()

        def pass_on(piece: str) -> None:
            asyncio.run_coroutine_threadsafe(send(piece), home).result()

        self.tally.add(waiting=1)
        begun = self._threads.submit(self._work, call, pass_on, gone)
        begun.add_done_callback(self._drop)
        try:
            return await asyncio.wrap_future(begun)
        finally:
            gone.set()

    def _drop(self, done: Future[bytes | None]) -> None:
        if done.cancelled():  # it was never begun
            self.tally.add(waiting=-1)

    def _work(self, call: Call, pass_on: Callable[[str], None], gone: threading.Event) -> bytes | None:
        self.tally.add(waiting=-1)
        with self.tally.working():
            result = self._infer(*call.args, **call.named)
            if not isinstance(result, Iterator):
                return encode(result)
            for piece in result:  # a generator that is left is closed with its last reference, at the return
                if gone.is_set():
                    break
                pass_on(encode(piece).decode())
            return None


class Coroutines:
    """Calls coroutines and asynchronous generators, all in one loop of the model's own."""

    def __init__(self, infer: Callable[..., Any], places: int) -> None:
        self.tally = Tally()
        self._infer = infer
        self._places = asyncio.Semaphore(places)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="infer", daemon=True).start()

    async def call(self, call: Call, send: Send) -> bytes | None:
        """See `Runner`."""
        home = asyncio.get_running_loop()

        async def pass_on(piece: str) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(send(piece), home))

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._work(call, pass_on), self._loop))

    async def _work(self, call: Call, pass_on: Send) -> bytes | None:
        async with self._place():
            with self.tally.working():
                result = self._infer(*call.args, **call.named)
                if not isinstance(result, AsyncIterator):
                    return encode(await result)
                async with contextlib.aclosing(result) as pieces:  # type: ignore[type-var]
                    async for piece in pieces:
                        await pass_on(encode(piece).decode())
                return None

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        self.tally.add(waiting=1)
        try:
            await self._places.acquire()
        finally:
            self.tally.add(waiting=-1)
        try:
            yield
        finally:
            self._places.release()

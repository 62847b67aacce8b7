"""The HTTP side that engines around a library have in common: routes, health, one figure, and one thread of work.

A model is loaded before anything listens, so a connection is the proof that it is there. SIGTERM keeps its default
action, which ends the process at once, native code included. A library that blocks works in the one thread of
`Work`, step by step; requests take turns between steps, and the work of a client that left ends with its step.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from .launch import Start
from .wire import Handler, HttpError, Reply, Request, serve

GAUGE = "engine_requests_running"  # requests being worked on

P = ParamSpec("P")
T = TypeVar("T")
_END = object()


class Work:
    """The thread in which the model works."""

    def __init__(self) -> None:
        self.running = 0  # requests; one whose client left counts until its last step is over
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def call(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What one step returns."""
        wrapped = functools.partial(step, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, wrapped)

    @contextlib.asynccontextmanager
    async def steps(
        self, begin: Callable[[threading.Event], Generator[T, None, None]]
    ) -> AsyncIterator[AsyncIterator[T]]:
        """The items that a generator makes, each made in a step of its own.

        `begin` gets an event that is set when nobody wants the rest; a step that can look at it may end early, by
        any exception. The generator is closed in the thread, too.
        """
        left = threading.Event()
        generator = begin(left)
        self.running += 1
        try:
            yield self._each(generator)
        finally:
            left.set()
            loop = asyncio.get_running_loop()
            closed = self._thread.submit(generator.close)
            closed.add_done_callback(lambda _: loop.call_soon_threadsafe(self._end))

    async def _each(self, generator: Generator[T, None, None]) -> AsyncIterator[T]:
        while (item := await self.call(next, generator, _END)) is not _END:  # type: ignore[arg-type]
            yield item  # type: ignore[misc]

    def _end(self) -> None:
        self.running -= 1


class Busy(Protocol):
    """What counts requests being worked on: `Work`, or a `Batcher`."""

    running: int


async def host(
    start: Start, routes: Mapping[str, Handler], work: Busy, looks: Mapping[str, Handler] | None = None
) -> None:
    """Answer `routes` by POST, and `looks`, health and metrics by GET, until a signal ends the process."""

    async def handle(request: Request, reply: Reply) -> None:
        if request.path == "/health":
            await reply.json({"status": "ok"})
        elif request.path == "/metrics":
            await reply.send(f"# TYPE {GAUGE} gauge\n{GAUGE} {work.running}\n".encode(), "text/plain; version=0.0.4")
        elif looks and request.path in looks:
            await looks[request.path](request, reply)
        elif request.path not in routes:
            raise HttpError(404, f"This model does not answer {request.path}; it answers {', '.join(routes)}.")
        elif request.method != "POST":
            raise HttpError(405, f"{request.path} is asked by POST, not {request.method}.")
        else:
            await routes[request.path](request, reply)

    server = await serve(start.socket, handle)
    print(f"Serving {start.uid}.", flush=True)
    await server.serve_forever()

"""Work that goes on to its end although whoever asked for it went away.

A client's departure cancels what answers it, but not what it set in motion: a thread cannot be cancelled, and a
launch that was begun is everybody's business. The event loop itself refers to tasks weakly, so they are held here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """The tasks under way. Used on the event loop's thread."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def keep(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Begin it. A failure is told to whoever awaits the task, and to nobody else."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    async def finish(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Its result; whoever waits can be cancelled, the work is not."""
        return await asyncio.shield(self.keep(work, name))

    def close(self) -> None:
        """Cancel everything."""
        for task in self._running:
            task.cancel()

    def _forget(self, done: asyncio.Task[Any]) -> None:
        self._running.discard(done)
        if not done.cancelled():
            done.exception()  # asked for, so that a failure that nobody awaits is no warning at exit

"""Notices that a client leaves while its request is being worked on, and cancels the work.

ASGI tells of a departure only to somebody who waits in `receive()`. A `Departure` does that beside the
work, from the moment the body has been read until the last byte is sent, and cancels the task that does
the work, whatever it is waiting for: a place in a queue, the engine's first byte, or the slow client itself.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.types import Receive

from xserve.http.body import ClientGoneError


class Departure:
    """Context in which the client's departure turns up as ClientGoneError."""

    __slots__ = ("_gone", "_owner", "_receive", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._owner: asyncio.Task[None]
        self._watcher: asyncio.Task[None]

    def __enter__(self) -> Departure:
        owner = asyncio.current_task()
        assert owner is not None
        self._owner = owner
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return self

    def stop_watching(self) -> None:
        """All work is done: servers report a departure after the last byte, which is none."""
        self._watcher.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if self._gone and self._owner.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGoneError from error

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._owner.cancel()

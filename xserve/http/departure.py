"""Notices that a client leaves while its request is being worked on, and cancels the work.

A `Departure` watches from the moment the body has been read until the last byte is sent, and cancels the
task that does the work, whatever it waits for: a place in a queue, the engine's first byte, or the slow
client itself. Our own listener offers to call back (`EXTENSION`); elsewhere ASGI tells of a departure only
to somebody who waits in `receive()`, so a second task does that, which costs a tenth of a short request.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.types import Receive, Scope

from xserve.http.body import ClientGoneError

EXTENSION = "xserve.departure"
"""Key in `scope["extensions"]`: a function that takes a callback, to be called when the client leaves before
its answer is complete. It may be given only once the whole body has been received."""


class Departure:
    """Context in which the client's departure turns up as ClientGoneError."""

    __slots__ = ("_extensions", "_gone", "_owner", "_receive", "_watcher", "_watching")

    def __init__(self, receive: Receive, scope: Scope | None = None) -> None:
        """With the request's `scope` the listener's extension is used, if there is one; it is the cheaper way."""
        self._extensions = scope.get("extensions") if scope else None
        self._receive = receive
        self._gone = False
        self._watching = True
        self._owner: asyncio.Task[None]
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Departure:
        owner = asyncio.current_task()
        assert owner is not None
        self._owner = owner
        if self._extensions and EXTENSION in self._extensions:
            self._extensions[EXTENSION](self._left)
        else:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return self

    def stop_watching(self) -> None:
        """All work is done: servers report a departure after the last byte, which is none."""
        self._watching = False
        if self._watcher is not None:
            self._watcher.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop_watching()
        if self._gone and self._owner.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGoneError from error

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        if self._watching:
            self._gone = True
            self._owner.cancel()

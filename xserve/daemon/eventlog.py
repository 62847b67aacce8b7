"""What happened lately: a ring of events that can be read and followed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from xserve.core.views import EventView

Row = dict[str, Any]
_KEPT = 2000  # events
_log = logging.getLogger("xserve.events")


class EventLog:
    """Written and read on the event loop's thread. Each event is logged as well."""

    def __init__(self) -> None:
        self._events: deque[EventView] = deque(maxlen=_KEPT)
        self.last = 0  # id of the newest event
        self._news = asyncio.Event()
        self._closed = False

    def add(self, kind: str, message: str, *, model: str = "", reason: str = "", data: Row | None = None) -> None:
        """Something happened. `kind`: action, state, files, environment, problem, request or daemon."""
        self.last += 1
        event = EventView(
            id=self.last, time=time.time(), kind=kind, model=model, reason=reason, message=message, data=data or {}
        )
        self._events.append(event)
        level = logging.WARNING if kind == "problem" else logging.INFO
        _log.log(level, "%s%s", f"{model}: " if model else "", message, extra={"event": event.model_dump()})
        self._wake()

    def after(self, number: int) -> list[EventView]:
        """Kept events with a greater id, oldest first."""
        return [event for event in self._events if event.id > number]

    async def follow(self, number: int) -> AsyncIterator[EventView]:
        """Kept and coming events with a greater id, until `close`."""
        while True:
            news = self._news
            for event in self.after(number):
                number = event.id
                yield event
            if self._closed:
                return
            await news.wait()

    def close(self) -> None:
        """Ends every `follow` once it has seen all."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

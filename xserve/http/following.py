"""Streams of things that happen: server-sent events and lines of text, for clients that stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from pydantic_core import to_json
from starlette.responses import StreamingResponse

from xserve.core.views import EventView

QUIET_SECONDS = 15.0
"""After so long without an event a comment is sent, so that nobody between takes the connection for dead."""
_COMMENT = b": still here\n\n"
_UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}

Item = TypeVar("Item")


def stream_events(events: AsyncIterator[EventView]) -> StreamingResponse:
    """Server-sent events with the id to come back with, the kind as event, and the whole as JSON."""
    return StreamingResponse(event_bytes(events, QUIET_SECONDS), media_type="text/event-stream", headers=_UNBUFFERED)


def stream_lines(lines: AsyncIterator[str]) -> StreamingResponse:
    """Lines of text as they come."""
    return StreamingResponse(_line_bytes(lines), media_type="text/plain", headers=_UNBUFFERED)


async def event_bytes(events: AsyncIterator[EventView], quiet: float) -> AsyncIterator[bytes]:
    """Each event as it goes out, with a comment whenever none came for `quiet` seconds."""
    async for event in with_pauses(events, quiet):
        yield _COMMENT if event is None else _as_bytes(event)


async def with_pauses(items: AsyncIterator[Item], quiet: float) -> AsyncIterator[Item | None]:
    """The items, and None whenever none came for `quiet` seconds. Waiting goes on over a None."""
    coming: asyncio.Task[Item] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(items))
            done, _ = await asyncio.wait({coming}, timeout=quiet)
            if not done:
                yield None
                continue
            item = coming.result()
            coming = None
            yield item
    except StopAsyncIteration:
        return
    finally:
        if coming is not None:
            coming.cancel()


async def _next(items: AsyncIterator[Item]) -> Item:
    return await anext(items)


def _as_bytes(event: EventView) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.kind.encode(), to_json(event))


async def _line_bytes(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield line.encode("utf-8", "replace") + b"\n"

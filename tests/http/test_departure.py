"""Whose cancelling is whose."""

from __future__ import annotations

import asyncio

import pytest

from xserve.http.body import ClientGoneError
from xserve.http.departure import EXTENSION, Departure


class Server:
    """Offers the extension and lets the test say when the client leaves."""

    def __init__(self) -> None:
        self.scope = {"extensions": {EXTENSION: self._watch}}

    def _watch(self, callback) -> None:
        self.leave = callback


async def test_a_departure_cancels_the_work_and_is_told_as_one():
    server = Server()

    async def work():
        with Departure(None, server.scope):
            server.leave()
            await asyncio.Event().wait()

    with pytest.raises(ClientGoneError):
        await work()
    await asyncio.sleep(0)  # nothing of the cancelling is left behind


async def test_after_the_work_a_departure_cancels_nothing():
    server = Server()
    with Departure(None, server.scope):
        pass
    server.leave()
    await asyncio.sleep(0)


async def test_a_departure_does_not_swallow_somebody_elses_cancelling():
    server = Server()

    async def work():
        with Departure(None, server.scope):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    server.leave()
    with pytest.raises(asyncio.CancelledError):
        await task

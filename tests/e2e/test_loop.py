"""The loop and what the API changes, over real files and a runtime that only takes notes."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from xserve.core.events import Exit, Exited
from xserve.core.launch import Launch
from xserve.core.ports import Command
from xserve.core.reconcile import Policy
from xserve.core.refused import Kind, Refused
from xserve.core.settings import Restart, Settings
from xserve.daemon import loop as module
from xserve.daemon.changes import Changes
from xserve.daemon.eventlog import EventLog
from xserve.daemon.look import Looker
from xserve.daemon.loop import Loop, Parts
from xserve.daemon.trials import Trials
from xserve.daemon.world import Sight, World
from xserve.files.layers import Layers
from xserve.http.traffic import Traffic
from xserve.placement.first_fit import first_fit

from .files import Config, definition


@dataclass
class Notes:
    """A runtime that starts nothing."""

    started: list[str] = field(default_factory=list)

    def start(self, instance: str, launch: Launch, command: Command) -> None:
        self.started.append(instance)

    def stop(self, instance: str, *, now: bool = False) -> None:
        pass

    def address(self, instance: str) -> str:
        return f"/run/{instance}.sock"

    def log(self, instance: str) -> str:
        return f"/run/{instance}.log"


class House:
    """World, loop and changes, put together as in the daemon."""

    def __init__(self, files: Config) -> None:
        layers = Layers.find(files.directory)
        layers.prepare()
        self.runtime, self.events = Notes(), EventLog()
        self.world = World(layers, Settings(version=1), settle=0.0, hold=0.0)
        self.loop = Loop(
            Parts(
                runtime=self.runtime,
                traffic=Traffic(lambda _: None),
                events=self.events,
                place=first_fit,
                policy=Policy(),
                restart=Restart(),
                clock=asyncio.get_running_loop().time,
                forget=lambda _: None,
            )
        )
        self.trials = Trials(asyncio.get_running_loop().time)
        self.changes = Changes(self.world, self.loop, self.trials, self.look, ())

    async def look(self) -> None:
        sight = await asyncio.to_thread(self.world.observe)
        self.loop.see(sight.desired)


@pytest.fixture
async def house(files: Config) -> House:
    files.define("base")
    made = House(files)
    await made.look()
    return made


def outcomes(results: list[Any]) -> list[Any]:
    return sorted(each.kind if isinstance(each, Refused) else "done" for each in results)


async def test_of_two_registrations_of_one_name_at_once_one_is_refused(house: House, files: Config) -> None:
    text = json.dumps(definition("new", files.directory / "weights.gguf"))
    both = [house.changes.register("LLM", text, persist=persist) for persist in (True, False)]

    assert outcomes(await asyncio.gather(*both, return_exceptions=True)) == ["done", Kind.EXISTS]


async def test_of_two_launches_under_one_name_at_once_one_is_refused(house: House) -> None:
    entry = {"model": "base", "engine": "fake"}
    both = [house.changes.launch("chat", entry, persist=keep, wait_ready=False) for keep in (True, False)]

    assert outcomes(await asyncio.gather(*both, return_exceptions=True)) == ["done", Kind.EXISTS]
    house.changes.close()


async def test_a_refused_launch_gives_its_name_back(house: House) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match="no definition is called 'none'"):
            await house.changes.launch("chat", {"model": "none"}, persist=False, wait_ready=False)


async def test_a_client_that_goes_away_cancels_no_launch(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the entry is being written: it is on trial all the same, and taken back where it fails."""
    writing, go_on = asyncio.Event(), asyncio.Event()
    look = house.look

    async def slow() -> None:
        writing.set()
        await go_on.wait()
        await look()

    monkeypatch.setattr(house.changes, "_refresh", slow)
    entry = {"model": "base", "engine": "fake"}
    client = asyncio.create_task(house.changes.launch("chat", entry, persist=False, wait_ready=True))
    await writing.wait()
    client.cancel()
    await asyncio.wait([client])
    go_on.set()
    while not house.runtime.started:
        await house.loop.changed()
    house.loop.report(Exited(house.runtime.started[0], Exit(code=1, log_tail=("no",))))
    while not house.trials.failed():
        await asyncio.sleep(0.001)

    assert "chat" not in house.world.sight.orders
    assert client.cancelled()


async def test_what_is_remembered_of_names_that_are_gone_is_bounded(
    house: House, files: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_NAMES", 2)
    names = [f"m{number}" for number in range(4)]
    for name in names:
        files.deploy_fake(name, model="base")
        await house.look()
        for instance in house.loop.history(name):
            house.loop.report(Exited(instance, Exit(code=1)))
        files.retire(name)
        await house.look()

    assert [name for name in names if house.loop.history(name)] == ["m2", "m3"]
    assert sorted(house.loop.failures) == ["m2", "m3"]


async def test_what_is_remembered_of_a_name_that_is_there_is_kept(
    house: House, files: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_NAMES", 0)
    files.deploy_fake("chat", model="base")
    await house.look()
    await house.look()

    assert house.loop.history("chat") == house.runtime.started


@pytest.mark.parametrize("kind", ["look", "peek"])
async def test_a_client_that_goes_away_leaves_no_second_look_beside_the_first(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A thread cannot be cancelled, and the files are read by one thread at a time."""
    begun, go_on = asyncio.Event(), threading.Event()
    at_once: list[int] = []
    here = asyncio.get_running_loop()
    look = house.world.observe

    def slow(*, reload: bool = False) -> Sight:
        at_once.append(len(at_once) - finished[0])
        here.call_soon_threadsafe(begun.set)
        go_on.wait()
        finished[0] += 1
        return look(reload=reload)

    finished = [0]
    monkeypatch.setattr(house.world, "observe", slow)
    looker = Looker(house.world, house.loop.see, house.events, 30.0, lambda: None)
    first = asyncio.create_task(looker.look() if kind == "look" else looker.peek(()))
    await begun.wait()
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(looker.look())
    while not looker._lock._waiters and len(at_once) == 1:
        await asyncio.sleep(0)
    go_on.set()
    await second

    assert at_once == [0, 0]

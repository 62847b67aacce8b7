"""Who gets an environment, and when: the daemon's queue in front of uv."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from xserve.core.desired import Desired, Waiting
from xserve.core.environment import Environment
from xserve.core.reasons import Reason
from xserve.daemon.eventlog import EventLog
from xserve.daemon.preparing import Preparer
from xserve.runtime.environments import Environments

from ..core.houses import order


class Slow(Environments):
    """Environments whose making takes until it is allowed to end."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.began: list[str] = []
        self.end = threading.Event()

    def _make(self, environment: Environment, tell: Callable[[str], None]) -> None:
        self.began.append(environment.engine)
        assert self.end.wait(60.0)


def environment(engine: str) -> Environment:
    return Environment(engine, "b", ("toy==1.0",), (), "here")


def wanting(**needs: str) -> Desired:
    """Deployments that wait for the environments of these engines."""
    return Desired(
        waiting={
            uid: Waiting(uid, Reason.PREPARING, "", order(uid), needs=environment(engine))
            for uid, engine in needs.items()
        }
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60.0):
        while not condition():
            await asyncio.sleep(0.01)


async def test_what_is_no_longer_wanted_when_its_turn_comes_is_not_made(tmp_path: Path) -> None:
    environments, woken = Slow(tmp_path), asyncio.Event()
    preparer = Preparer(environments, EventLog(), woken.set)
    preparer.follow(wanting(one="first", two="second", three="third"))
    await until(lambda: environments.began)
    preparer.follow(wanting(three="third"))
    environments.end.set()
    await until(lambda: environments.due(environment("third")))
    assert environments.began == ["first", "third"]
    assert environments.due(environment("second")), "it can be asked for again"


async def test_two_deployments_that_need_the_same_environment_make_it_once(tmp_path: Path) -> None:
    environments = Slow(tmp_path)
    preparer = Preparer(environments, EventLog(), str)
    preparer.follow(wanting(one="same", two="same"))
    preparer.follow(wanting(two="same", three="same"))
    environments.end.set()
    await until(lambda: environments.due(environment("same")))
    assert environments.began == ["same"]

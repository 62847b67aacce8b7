"""A local runtime in a directory of its own, and helpers that wait for things to be so."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from xserve.core.events import Event, Exit, Exited
from xserve.core.launch import Launch
from xserve.core.manifest import Probe
from xserve.core.ports import Command
from xserve.runtime.local import LocalRuntime
from xserve.runtime.settings import RuntimeSettings
from xserve.runtime.tree import start_time

SERVER = str(Path(__file__).parent / "server.py")
PROBE = Probe(path="/v1/probe", body={"model": "{uid}", "messages": [{"name": "{uid}"}]})
QUICK = RuntimeSettings(health_interval=0.05, health_deadline=0.3, log_max_bytes=256 * 1024, log_keep=2)


def command(*options: str, probe: Probe | None = None, grace: float = 20.0) -> Command:
    """The little server with options."""
    argv = (sys.executable, "-I", "-S", SERVER, "{socket}", *options)
    return Command(argv=argv, env=(), health="/health", probe=probe, stop_grace=grace)


def program(code: str, *, grace: float = 20.0) -> Command:
    """A few lines of Python as the engine."""
    return Command(argv=(sys.executable, "-I", "-S", "-c", code), env=(), health="/", probe=None, stop_grace=grace)


def launch(uid: str = "chat", **env: str) -> Launch:
    """A launch of no importance."""
    return Launch(uid, "fake", "LLM", "m", "", "", "", "", definition={"a": 1}, env=env)


def lives(pid: int) -> bool:
    """Whether the process runs: zombies do not."""
    return start_time(pid) is not None


async def until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for something to be so; the limit only ends a test that has failed."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.005)


class Bench:
    """A runtime and all that it reported."""

    def __init__(self, run_dir: Path, sockets: Path, settings: RuntimeSettings = QUICK) -> None:
        self.run_dir = run_dir
        self.sockets = sockets
        self.events: list[Event] = []
        self.runtime = LocalRuntime(run_dir, sockets, self.events.append, settings)

    def of(self, kind: type[Event], instance: str = "one") -> list[Event]:
        return [event for event in self.events if isinstance(event, kind) and event.instance == instance]

    async def event(self, kind: type[Event], instance: str = "one") -> Event:
        """The first event of the kind, awaited."""
        await until(lambda: self.of(kind, instance), f"{kind.__name__} of {instance}, only {self.events}")
        return self.of(kind, instance)[0]

    async def exit(self, instance: str = "one") -> Exit:
        event = await self.event(Exited, instance)
        assert isinstance(event, Exited)
        return event.exit

    def directory(self, instance: str = "one") -> Path:
        return self.run_dir / "engines" / instance


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Short, as pytest's own directories are not."""
    path = Path(tempfile.mkdtemp(prefix="xs"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def bench(tmp_path: Path, sockets: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "run", sockets)
    yield bench
    await bench.runtime.close(deadline=0.0)
    assert not os.listdir(sockets), "a socket was left behind"


async def pids_in(path: Path) -> list[int]:
    """The pids that the little server's brood wrote."""
    await until(path.exists, f"{path.name} written")
    return [int(word) for word in path.read_text().split()]

"""Whatever happens to a replica, in whatever order: one end is reported, last, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xserve.core.events import Answered, Event, Exited, Loaded, Spawned
from xserve.runtime.records import read_json
from xserve.runtime.sweep import run_id
from xserve.runtime.tree import marked

from .conftest import Bench, command, launch, until

BEHAVIOURS = [(), ("--ignore-term",), ("--exit", "3"), ("--not-ready",), ("--no-socket",)]
AWAITED = {"spawn": Spawned, "load": Loaded, "answer": Answered}
STEPS = ["stop", "stop now", "kill engine", "kill shim", *AWAITED]


@settings(max_examples=25)
@given(st.sampled_from(BEHAVIOURS), st.lists(st.sampled_from(STEPS), max_size=5))
def test_one_end_is_reported_and_nothing_is_left(options: tuple[str, ...], steps: list[str]) -> None:
    place = Path(tempfile.mkdtemp(prefix="xs"))
    try:
        (place / "s").mkdir()
        asyncio.run(play(Bench(place / "run", place / "s"), options, steps))
    finally:
        shutil.rmtree(place)


async def play(bench: Bench, options: tuple[str, ...], steps: list[str]) -> None:
    """Live through the steps, then close."""
    with tempfile.NamedTemporaryFile() as brood:
        bench.runtime.start("one", launch(), command("--brood", brood.name, *options, grace=0.05))
        for number, step in enumerate(steps):
            act(bench, step)
            if step in AWAITED:
                await come(bench, options, steps[:number], AWAITED[step])
        bench.runtime.stop("one")
        await bench.exit()
        await bench.runtime.close(deadline=60.0)

    assert len(bench.of(Exited)) == 1
    assert isinstance(bench.events[-1], Exited)
    assert os.listdir(bench.sockets) == []
    assert list(marked(f"{run_id(bench.run_dir)}:")) == []


def act(bench: Bench, step: str) -> None:
    match step.split():
        case ["stop", *now]:
            bench.runtime.stop("one", now=bool(now))
        case ["kill", whom]:
            kill(bench, whom)


def kill(bench: Bench, whom: str) -> None:
    """SIGKILL, if it is known and alive."""
    match read_json(f"{bench.directory()}/fact.json").get(whom):
        case {"pid": int(pid)} if not bench.of(Exited):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def come(bench: Bench, options: tuple[str, ...], steps: list[str], kind: type[Event]) -> None:
    """Wait for an event if nothing that was done keeps it from coming."""
    if kind is Spawned or not ({"--not-ready", "--no-socket"} & {*options} or {"stop", "stop now"} & {*steps}):
        await until(lambda: bench.of(kind) or bench.of(Exited), f"{kind.__name__} or an end, only {bench.events}")


@pytest.mark.parametrize("module", ["asyncio", "uvloop"])
def test_both_event_loops_will_do(module: str) -> None:
    """The daemon runs on uvloop where it is installed."""
    loops = pytest.importorskip(module)
    place = Path(tempfile.mkdtemp(prefix="xs"))
    try:
        (place / "s").mkdir()
        with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
            runner.run(play(Bench(place / "run", place / "s"), ("--ignore-term",), ["answer", "kill engine"]))
    finally:
        shutil.rmtree(place)

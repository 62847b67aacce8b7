"""The runtime with the shipped engine `fake`, started as its manifest says."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from xserve.core.events import Answered, Exited, Spawned, Unhealthy
from xserve.core.manifest import Manifest
from xserve.core.ports import Command
from xserve.runtime.tree import descendants

from .conftest import Bench, launch, lives, until

FOLDER = Path(__file__).parents[2] / "engines" / "fake"
MANIFEST = Manifest.model_validate(yaml.safe_load((FOLDER / "engine.yaml").read_text()))


def start(bench: Bench, **options: object) -> None:
    """As the daemon does it: everything but the launch file and the socket is filled in."""
    argv = [part.replace("{python}", sys.executable).replace("{folder}", str(FOLDER)) for part in MANIFEST.command]
    command = Command(tuple(argv), tuple(MANIFEST.env.items()), MANIFEST.health, MANIFEST.serves[0].probe, 0.2)
    bench.runtime.start("one", replace(launch("chat"), options=options), command)


async def test_it_answers_its_probe_and_leaves_on_request(bench: Bench) -> None:
    start(bench)
    await bench.event(Answered)
    bench.runtime.stop("one")
    end = await bench.exit()

    assert (end.code, end.signal) in [(0, None), (None, signal.SIGTERM)]


async def test_it_leaves_no_child_behind(bench: Bench) -> None:
    start(bench, leak_children=3, ignore_sigterm=True)
    spawned = await bench.event(Spawned)
    await bench.event(Answered)
    assert isinstance(spawned, Spawned)
    shim = int(Path(f"/proc/{spawned.pid}/stat").read_text().rpartition(")")[2].split()[1])
    tree = descendants(shim)
    assert len(tree) == 4, "the leaked ones belong to the shim now"
    bench.runtime.stop("one")
    await bench.exit()

    assert not any(map(lives, tree))


async def test_a_refused_start_is_an_exit_with_its_code_and_words(bench: Bench) -> None:
    start(bench, exit_code=64)
    end = await bench.exit()

    assert end.code == 64
    assert "64" in "".join(end.log_tail)


@pytest.mark.parametrize("options", [{"health": "hang"}, {"health": "error"}, {"never_ready": True}])
async def test_it_is_not_loaded_while_health_says_no(bench: Bench, options: dict[str, object]) -> None:
    start(bench, **options)
    await bench.event(Spawned)
    await until(lambda: Path(bench.runtime.address("one")).exists(), "a socket")
    bench.runtime.stop("one", now=True)
    await bench.exit()

    assert {type(event) for event in bench.events} == {Spawned, Exited}


async def test_a_probe_that_is_refused_is_told_with_the_engines_words(bench: Bench) -> None:
    start(bench, status=507)
    event = await bench.event(Unhealthy)

    assert isinstance(event, Unhealthy)
    assert "was answered with status 507" in event.sentence

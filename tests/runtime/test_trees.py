"""No process outlives its engine, its shim or its daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import xserve
from xserve.core.events import Answered, Exited, Spawned
from xserve.runtime.sweep import run_id
from xserve.runtime.tree import MARK, children

from .conftest import Bench, command, launch, lives, pids_in, until

DAEMON = Path(__file__).parent / "daemon.py"
ROOT = str(Path(xserve.__file__).parents[1])


def shim_pid(bench: Bench, instance: str = "one") -> int:
    pid = json.loads((bench.directory(instance) / "fact.json").read_text())["shim"]["pid"]
    assert isinstance(pid, int)
    return pid


def test_a_thread_that_ends_meanwhile_hides_the_children_of_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        monkeypatch.setattr(os, "listdir", lambda _: ["999999999", str(os.getpid())])
        try:
            assert child.pid in children(os.getpid())
        finally:
            child.kill()


async def test_descendants_die_when_their_engine_ends_by_itself(bench: Bench, tmp_path: Path) -> None:
    bench.runtime.start("one", launch(), command("--brood", str(tmp_path / "brood"), "--exit", "5"))
    end = await bench.exit()
    pids = await pids_in(tmp_path / "brood")

    assert len(pids) == 2
    assert not any(map(lives, pids))
    assert end.code == 5


async def test_descendants_die_when_the_engine_is_stopped(bench: Bench, tmp_path: Path) -> None:
    bench.runtime.start("one", launch(), command("--brood", str(tmp_path / "brood")))
    await bench.event(Answered)
    pids = await pids_in(tmp_path / "brood")
    assert all(map(lives, pids))
    bench.runtime.stop("one")
    await bench.exit()

    assert not any(map(lives, pids))


async def test_a_killed_engine_is_reported_and_strands_nobody(bench: Bench, tmp_path: Path) -> None:
    bench.runtime.start("one", launch(), command("--brood", str(tmp_path / "brood")))
    await bench.event(Answered)
    pids = await pids_in(tmp_path / "brood")
    spawned = await bench.event(Spawned)
    assert isinstance(spawned, Spawned)
    os.kill(spawned.pid, signal.SIGKILL)
    end = await bench.exit()

    assert (end.signal, end.out_of_memory) == (signal.SIGKILL, False)
    assert not any(map(lives, pids))
    assert not os.path.exists(bench.runtime.address("one"))


async def test_a_killed_shim_takes_its_tree_along(bench: Bench, tmp_path: Path) -> None:
    bench.runtime.start("one", launch(), command("--brood", str(tmp_path / "brood")))
    bench.runtime.start("one-more", launch(), command())
    await bench.event(Answered)
    await bench.event(Answered, "one-more")
    pids = await pids_in(tmp_path / "brood")
    os.kill(shim_pid(bench), signal.SIGKILL)
    end = await bench.exit()

    assert end.sentence == "The engine's shim ended with signal 9"
    assert not any(map(lives, pids))
    assert not bench.of(Exited, "one-more"), "an instance whose name begins alike is another one"


async def test_sigterm_to_the_shim_stops_its_tree(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command())
    await bench.event(Answered)
    os.kill(shim_pid(bench), signal.SIGTERM)

    assert (await bench.exit()).signal == signal.SIGTERM


class Daemon:
    """A process that runs a LocalRuntime with one engine, to be killed."""

    def __init__(self, bench: Bench, policy: str, *options: str) -> None:
        arguments = [str(bench.run_dir), str(bench.sockets), policy, *options]
        self.process = subprocess.Popen(
            [sys.executable, str(DAEMON), *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("stubborn", [(), ("--ignore-term",)], ids=["willing", "stubborn"])
async def test_nothing_is_left_when_the_daemon_was_killed(
    bench: Bench, tmp_path: Path, stubborn: tuple[str, ...]
) -> None:
    """Not even of an engine that ignores SIGTERM and is given an hour: nobody is left to be served."""
    daemon = Daemon(bench, "stop", "--brood", str(tmp_path / "brood"), *stubborn)
    pids = [*await pids_in(tmp_path / "brood"), *fact_pids(bench)]
    assert all(map(lives, pids))
    daemon.kill()
    await until(lambda: not any(map(lives, pids)), "everything gone")

    assert not os.listdir(bench.sockets)
    assert json.loads((bench.directory() / "exit.json").read_text())["reason"] == "daemon gone"


async def test_what_a_killed_daemon_and_shim_left_is_swept_at_the_next_start(bench: Bench, tmp_path: Path) -> None:
    daemon = Daemon(bench, "keep", "--brood", str(tmp_path / "brood"))
    brood = await pids_in(tmp_path / "brood")
    os.kill(daemon.process.pid, signal.SIGSTOP)  # so that it cannot clean up after its shim
    os.kill(shim_pid(bench), signal.SIGKILL)
    daemon.kill()
    assert all(map(lives, brood)), "the engine dies with its shim, its descendants do not"
    swept = bench.runtime.sweep()

    assert set(brood) <= set(swept.killed)
    assert swept.stuck == ()
    assert not any(map(lives, brood))
    assert not os.listdir(bench.sockets)


async def test_a_kept_tree_is_swept_by_a_daemon_that_does_not_adopt(bench: Bench) -> None:
    daemon = Daemon(bench, "keep")
    pids = fact_pids(bench)
    daemon.kill()
    (bench.directory() / "fact.json").unlink()  # the marks are evidence enough
    assert all(map(lives, pids))
    swept = bench.runtime.sweep()

    assert set(swept.killed) == set(pids)
    assert not any(map(lives, pids))


async def test_a_sweep_leaves_other_run_directories_alone(bench: Bench, tmp_path: Path, sockets: Path) -> None:
    bench.runtime.start("one", launch(), command())
    spawned = await bench.event(Spawned)
    (tmp_path / "elsewhere").mkdir()
    other = Bench(tmp_path / "other", tmp_path / "elsewhere")

    assert other.runtime.sweep().killed == ()
    assert isinstance(spawned, Spawned)
    assert lives(spawned.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
async def test_a_process_of_another_user_is_not_ours_whatever_mark_it_carries(bench: Bench) -> None:
    mark = f"{run_id(bench.run_dir)}:one"
    forger = subprocess.Popen(["sleep", "100"], env={MARK: mark}, user=12345)
    try:
        assert bench.runtime.sweep().killed == ()
        assert forger.poll() is None
    finally:
        forger.kill()
        forger.wait()


@pytest.mark.parametrize(
    "change",
    [
        {"boot": "00000000-0000-0000-0000-000000000000"},
        {"engine": {"start": 1}},
        {"engine": {"start": None}},
        {"engine": "nonsense"},
        {"boot": None},
    ],
    ids=["another boot", "the number used again", "no start time", "not a record", "no boot"],
)
async def test_a_stale_record_kills_nobody(bench: Bench, change: dict[str, object]) -> None:
    stranger = subprocess.Popen(["sleep", "100"])
    try:
        write_fact(bench, stranger.pid, change)
        swept = bench.runtime.sweep()
        assert swept.killed == ()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_true_record_kills_an_engine_that_lost_its_mark(bench: Bench) -> None:
    engine = subprocess.Popen(["sleep", "100"])
    try:
        write_fact(bench, engine.pid, {})
        swept = bench.runtime.sweep()
        assert swept.killed == (engine.pid,)
        assert engine.wait() == -signal.SIGKILL
    finally:
        engine.kill()
        engine.wait()


async def test_a_record_that_is_garbage_is_no_obstacle(bench: Bench) -> None:
    (bench.run_dir / "engines" / "old").mkdir()
    (bench.run_dir / "engines" / "old" / "fact.json").write_bytes(b"\xff{")

    assert bench.runtime.sweep().killed == ()


def write_fact(bench: Bench, pid: int, change: dict[str, object]) -> None:
    start = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    fact: dict[str, object] = {"boot": boot, "engine": {"pid": pid, "start": start}}
    for key, value in change.items():
        fact[key] = {"pid": pid, **value} if isinstance(value, dict) else value
    directory = bench.run_dir / "engines" / "old"
    directory.mkdir()
    (directory / "fact.json").write_text(json.dumps(fact))


def fact_pids(bench: Bench) -> list[int]:
    fact = json.loads((bench.directory() / "fact.json").read_text())
    return [fact["shim"]["pid"], fact["engine"]["pid"]]

"""An engine that the kernel killed for its memory is told from one that was merely killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xserve.runtime.records import read_json
from xserve.runtime.shim import engine

from .conftest import Bench

DAEMON = Path(__file__).parent / "daemon.py"


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A memory cgroup (version 1) of 64 MiB; not every machine lets us make one."""
    names = [line.strip().split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    here = next((path for _, kinds, path in names if kinds == "memory"), None)
    group = Path(f"/sys/fs/cgroup/memory{here}/xserve-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(64 * 1024 * 1024))
    except OSError as error:
        pytest.skip(f"cannot make a memory cgroup here: {error}")
    yield group
    group.rmdir()


def test_running_out_of_memory_is_recorded(bench: Bench, small_group: Path) -> None:
    enter = f"import os; open('{small_group}/cgroup.procs', 'w').write(str(os.getpid())); "
    run = f"import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path('{DAEMON}', run_name='__main__')"
    arguments = [str(DAEMON), str(bench.run_dir), str(bench.sockets), "stop", "--eat", str(256 * 1024 * 1024)]
    daemon = subprocess.Popen(
        [sys.executable, "-c", enter + run, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert daemon.stdout is not None
    said = daemon.stdout.readline()
    daemon.kill()
    daemon.communicate()
    record = read_json(f"{bench.directory()}/exit.json")

    assert said == b"exited out_of_memory=True signal=9\n"
    assert (record["signal"], record["out_of_memory"]) == (9, True)


@pytest.mark.parametrize(
    ("number", "by_us", "kills", "expected"),
    [(9, False, 6, True), (9, False, 5, False), (9, True, 6, False), (15, False, 6, False), (None, False, 6, False)],
    ids=["so it is", "the counter stands", "we did it", "another signal", "an exit"],
)
def test_only_a_kill_that_was_not_ours_counts(
    monkeypatch: pytest.MonkeyPatch, number: int | None, by_us: bool, kills: int, expected: bool
) -> None:
    monkeypatch.setattr(engine, "oom_kills", lambda: kills)

    assert engine.ran_out_of_memory(number, by_us=by_us, kills_before=5) is expected


def test_where_the_kernel_tells_nothing_the_counter_is_zero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "two").write_text("low 0\noom 3\noom_kill 2\n")
    (tmp_path / "broken").write_text("oom 3\n")
    monkeypatch.setattr(engine, "_memory_events", lambda: ["/nowhere", str(tmp_path / "broken")])
    assert engine.oom_kills() == 0
    monkeypatch.setattr(engine, "_memory_events", lambda: [str(tmp_path / "broken"), str(tmp_path / "two")])
    assert engine.oom_kills() == 2

"""Reading logs: the tail, and following over rotations; writing them within bounds."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xserve.core.events import Answered
from xserve.runtime.logs import MAX_LINE, follow, tail
from xserve.runtime.shim.logfile import RotatingLog
from xserve.runtime.shim.output import Output

from .conftest import QUICK, Bench, command, launch, lives, until


def test_the_tail_spans_rotated_files(tmp_path: Path) -> None:
    (tmp_path / "log.2").write_text("a\nb\n")
    (tmp_path / "log.1").write_text("c\nd\n")
    (tmp_path / "log").write_text("e\nf")

    assert tail(str(tmp_path / "log"), 3) == ["d", "e", "f"]
    assert tail(str(tmp_path / "log"), 99) == ["a", "b", "c", "d", "e", "f"]
    assert tail(str(tmp_path / "log"), 0) == []


def test_the_tail_of_no_log_is_empty(tmp_path: Path) -> None:
    assert tail(str(tmp_path / "log"), 10) == []


def test_the_tail_reads_a_log_that_has_just_been_rotated(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("a\n")

    assert tail(str(tmp_path / "log"), 10) == ["a"]


def test_the_tail_passes_over_a_file_that_vanishes_between_the_look_and_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim rotates whenever it likes."""
    (tmp_path / "log.1").write_text("a\n")
    path = str(tmp_path / "log")
    monkeypatch.setattr("xserve.runtime.logs._rotated", lambda _: [path, f"{path}.1"])

    assert tail(path, 10) == ["a"]


def test_the_tail_reads_no_more_bytes_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"{number:03}\n" for number in range(1000)))

    assert tail(str(tmp_path / "log"), 500, max_bytes=12) == ["997", "998", "999"]


def test_long_lines_are_cut_with_a_mark_and_bad_bytes_replaced(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * (MAX_LINE + 7) + b"\n\xff\xfeok\r\n")

    assert tail(str(tmp_path / "log"), 2) == ["x" * MAX_LINE + " [… 7 more bytes]", "\ufffd\ufffdok"]


async def collect(path: Path, into: list[str], ended: asyncio.Event, *, from_end: bool = False) -> None:
    async for line in follow(str(path), from_end=from_end, ended=ended):
        into.append(line)


async def test_following_survives_rotation_and_ends_when_told(tmp_path: Path) -> None:
    path, lines, ended = tmp_path / "log", list[str](), asyncio.Event()
    log = RotatingLog(str(path), max_bytes=40, keep=3)
    task = asyncio.create_task(collect(path, lines, ended))
    for number in range(30):
        log.write(f"line {number}\n".encode())
        await until(lambda n=number: len(lines) == n + 1, f"line {number}")  # type: ignore[misc]
    log.write(b"no end")
    ended.set()
    await task
    log.close()

    assert lines == [*(f"line {number}" for number in range(30)), "no end"]
    assert (tmp_path / "log.3").exists()


async def test_following_begins_with_the_oldest_file_or_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("a\n")
    (tmp_path / "log").write_text("b\n")
    ended = asyncio.Event()
    ended.set()
    everything, news = list[str](), list[str]()
    await collect(tmp_path / "log", everything, ended)
    await collect(tmp_path / "log", news, ended, from_end=True)

    assert (everything, news) == (["a", "b"], [])


async def test_following_tells_of_lines_that_were_rotated_away(tmp_path: Path) -> None:
    path, lines, ended = tmp_path / "log", list[str](), asyncio.Event()
    path.write_text("first\n")
    task = asyncio.create_task(collect(path, lines, ended))
    await until(lambda: lines, "the first line")
    path.unlink()
    (tmp_path / "log.1").write_text("later\n")
    path.write_text("last\n")
    ended.set()
    await task

    assert lines == ["first", "[xserve] lines are missing here: the log was rotated away", "later", "last"]


async def test_a_follower_that_leaves_closes_its_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\nb\n")
    lines = follow(str(tmp_path / "log"), from_end=False, ended=asyncio.Event())
    assert await anext(lines) == "a"
    await lines.aclose()

    held = {os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _open(number)}
    assert str(tmp_path / "log") not in held


def _open(number: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")


@given(
    st.lists(st.binary(min_size=1, max_size=60) | st.just(b"\n"), max_size=30),
    st.integers(1, 50),
    st.integers(0, 3),
)
def test_files_are_bounded_and_hold_the_newest_bytes_in_order(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], max_bytes: int, keep: int
) -> None:
    path = tmp_path_factory.mktemp("rotation") / "log"
    log = RotatingLog(str(path), max_bytes, keep)
    for piece in pieces:
        log.write(piece)
    log.close()
    files = sorted(path.parent.iterdir(), key=lambda file: int(file.suffix[1:] or 0), reverse=True)
    kept = b"".join(file.read_bytes() for file in files)

    assert len(files) <= keep + 1
    assert all(file.stat().st_size <= max_bytes for file in files)
    assert b"".join(pieces).endswith(kept)
    assert log.written == len(b"".join(pieces))
    assert kept or not pieces


def test_a_log_is_rotated_at_the_end_of_a_line(tmp_path: Path) -> None:
    log = RotatingLog(str(tmp_path / "log"), max_bytes=10, keep=1)
    log.write(b"aaaa\nbbbb\ncccc\n")
    log.close()

    assert (tmp_path / "log.1").read_text() == "aaaa\nbbbb\n"
    assert (tmp_path / "log").read_text() == "cccc\n"


def test_a_log_is_appended_to_and_its_old_size_counts(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old old\n")
    log = RotatingLog(str(tmp_path / "log"), max_bytes=10, keep=1)
    log.write(b"new\n")
    log.close()

    assert (tmp_path / "log.1").read_text() == "old old\n"
    assert (tmp_path / "log").read_text() == "new\n"


def test_a_pipe_that_is_empty_is_not_at_its_end(tmp_path: Path) -> None:
    output = Output(RotatingLog(str(tmp_path / "log"), max_bytes=10, keep=1))

    assert output.move(), "a writer is left, though it is silent"
    output.given_away()
    assert not output.move()
    os.close(output.read_end)


@pytest.mark.parametrize("room", [1000, 75])
def test_what_a_full_disk_swallowed_is_confessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Also where the confession does not fit into the file that was being written."""
    log = RotatingLog(str(tmp_path / "log"), max_bytes=room, keep=2)
    log.write(b"before\n")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.write(b"lost\n")
        log.write(b"lost too\n")
    log.write(b"after\n")
    log.close()

    assert "\n".join(tail(str(tmp_path / "log"), 99)) == (
        "before\n[xserve] 14 bytes of this log were lost: No space left on device (ENOSPC)\nafter"
    )


@pytest.mark.parametrize("kind", ["--flood", "--endless"])
async def test_a_flood_and_an_endless_line_fill_neither_disk_nor_memory(bench: Bench, kind: str) -> None:
    """64 MiB of output: the engine gets ready behind it, the log keeps its bound, the shim stays small."""
    bench.runtime.start("one", launch(), command(kind, str(64 * 1024 * 1024)))
    await bench.event(Answered)
    shim = shim_of(bench)
    peak = int(next(line for line in status(shim) if line.startswith("VmHWM")).split()[1])
    bench.runtime.stop("one")
    end = await bench.exit()
    sizes = [path.stat().st_size for path in bench.directory().glob("log*")]

    assert peak < 32 * 1024, "kB of the shim's memory at its highest"
    assert len(sizes) == QUICK.log_keep + 1
    assert all(size <= QUICK.log_max_bytes for size in sizes)
    assert sum(map(len, end.log_tail)) < 20 * 1024
    assert not lives(shim)


def shim_of(bench: Bench) -> int:
    pid = json.loads((bench.directory() / "fact.json").read_text())["shim"]["pid"]
    assert isinstance(pid, int)
    return pid


def status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


async def test_the_last_lines_come_with_the_exit_decoded(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command("--say-raw", (b"ok \xff\n" * 100).hex(), "--exit", "1"))
    end = await bench.exit()

    assert end.log_tail == ("ok \ufffd",) * 40

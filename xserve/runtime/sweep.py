"""Ending what an earlier daemon left behind, before anything is launched.

Two kinds of evidence count, and a pid alone is none: a process of our user that carries this run directory's
mark in its environment, or one that a record names by pid and start time, written in this very boot. Each
is held by a pidfd before the evidence is read, so that the signal cannot reach a process that got its number.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xserve.runtime.records import read_json
from xserve.runtime.tree import MARK, boot_id, carries, descendants, marked, start_time


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found: pids of processes that are gone now, and of those that would not go."""

    killed: tuple[int, ...]
    stuck: tuple[int, ...]


def run_id(run_dir: Path) -> str:
    """The name of a run directory in marks. Path and inode: a copy of the path elsewhere is another one."""
    status = run_dir.stat()
    text = f"{run_dir.resolve()}:{status.st_dev}:{status.st_ino}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sweep(prefix: str, directories: Iterator[Path] | tuple[Path, ...], deadline: float = 10.0) -> Swept:
    """Kill every process whose mark starts with `prefix` or that a record in the directories proves ours.

    Blocks until they are gone, at most `deadline` seconds.
    """
    until = time.monotonic() + deadline
    recorded = dict(found for directory in directories for found in _recorded(directory))
    killed: set[int] = set()
    stuck: set[int] = set()
    while not stuck and (doomed := _doomed(prefix, recorded)):
        killed |= doomed.keys()
        stuck = _kill(doomed, until)
    return Swept(tuple(sorted(killed - stuck)), tuple(sorted(stuck)))


def _recorded(directory: Path) -> Iterator[tuple[int, int]]:
    """(pid, start time) of the shim and the engine in the directory's record, if it is of this boot."""
    fact = read_json(f"{directory}/fact.json")
    if fact.get("boot") != boot_id():
        return
    for name in ("shim", "engine"):
        match fact.get(name):
            case {"pid": int(pid), "start": int(start)} if pid > 1:
                yield pid, start


def _doomed(prefix: str, recorded: dict[int, int]) -> dict[int, int]:
    """pid -> pidfd of every process to kill, their descendants included. The caller closes the pidfds."""
    wanted = f"{MARK}={prefix}".encode()
    doomed: dict[int, int] = {}
    for pid in {*marked(prefix), *recorded}:
        _hold(doomed, pid, wanted, recorded)
        if pid in doomed:
            for child in descendants(pid):
                _hold(doomed, child, b"", {})
    return doomed


def _hold(doomed: dict[int, int], pid: int, wanted: bytes, recorded: dict[int, int]) -> None:
    """Take hold of the process, and keep hold if the evidence is against it."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    started = start_time(pid)
    guilty = started is not None and (recorded.get(pid) == started or carries(pid, wanted))
    if guilty and pid not in doomed:
        doomed[pid] = pidfd
    else:
        os.close(pidfd)


def _kill(doomed: dict[int, int], until: float) -> set[int]:
    """SIGKILL them all and wait for their ends; returns the pids of those that were not gone in time."""
    poll = select.poll()
    for pidfd in doomed.values():
        _send(pidfd)
        poll.register(pidfd, select.POLLIN)
    waiting = set(doomed.values())
    while waiting and (left := until - time.monotonic()) > 0:
        for pidfd, _ in poll.poll(left * 1000):
            poll.unregister(pidfd)
            waiting.discard(pidfd)
    for pidfd in doomed.values():
        os.close(pidfd)
    return {pid for pid, pidfd in doomed.items() if pidfd in waiting}


def _send(pidfd: int) -> None:
    with contextlib.suppress(OSError):  # gone meanwhile
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)

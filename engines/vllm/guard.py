"""No process of vLLM outlives its server, and no shared memory its processes.

vLLM's engine core and its workers are processes of their own and hold the memory. When the server is killed they
go on for good. So a small process that is forked before anything is loaded waits for the server's end, whatever it
is, and then ends the process group.

Between them they share memory that has names, and vLLM leaves it to Python's resource tracker to take those back,
once everybody else is gone. The tracker is therefore the last to go: an orderly end waits for it, and the guard
spares it. Whoever kills the whole tree at once takes that chance away.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Collection, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

TRACKER = b"multiprocessing.resource_tracker"
PATIENCE = 5.0  # seconds for the tracker


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """At the end of the block, or of this process, nothing of its group is left. It becomes a group's leader."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    server, guard = os.getpid(), os.fork()
    if guard == 0:
        _guard(server)
    try:
        yield
    finally:
        _end_members(server, (server, guard))
        resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]  # there is no public way


def _guard(server: int) -> None:
    """Wait for the end of the process, then end its group, which is also ours. Does not return."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group, and mean the server
    try:
        if os.getppid() == server:
            _wait_for(server)
        for tracker in _end_members(server, (os.getpid(),)):
            _wait_for(tracker, PATIENCE)
    finally:
        os.killpg(server, signal.SIGKILL)


def _end_members(group: int, spared: Collection[int]) -> list[int]:
    """Kill the members of the group but those and the trackers, which are returned."""
    trackers = []
    for pid in set(_members(group)) - set(spared):
        with contextlib.suppress(OSError):  # gone meanwhile
            if TRACKER in Path(f"/proc/{pid}/cmdline").read_bytes():
                trackers.append(pid)
            else:
                os.kill(pid, signal.SIGKILL)
    return trackers


def _members(group: int) -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[2]) == group:
                yield int(stat.parent.name)


def _wait_for(pid: int, seconds: float | None = None) -> None:
    """Wait until the process has ended, at most so long."""
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [], seconds)

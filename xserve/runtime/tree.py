"""Process trees as /proc shows them.

A pid alone proves nothing: numbers are used again. A process is known by its pid and its start time
within one boot, or by the mark in its environment, which every descendant of an engine inherits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

MARK = "XSERVE_INSTANCE"
"""Environment variable of every process under a shim: `<run id>:<instance>`."""


def boot_id() -> str:
    """The kernel's random name of this boot; pids and start times of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def start_time(pid: int) -> int | None:
    """Clock ticks between boot and the start of the process (field 22 of stat); None: gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, field 2, is in parentheses and may hold anything, so count from its end.
            state, *fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if state in (b"Z", b"X") else int(fields[18])


def children(pid: int) -> list[int]:
    """The direct children of all threads of the process, zombies included; empty where it is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        # A thread that ended while we looked hides the children of no other one.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            found += map(int, file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents first. A tree that grows meanwhile needs another look."""
    found: list[int] = []
    queue = children(pid)
    while queue:
        child = queue.pop()
        found.append(child)
        queue += children(child)
    return found


def marked(prefix: str) -> Iterator[int]:
    """The pids of our user's processes, this one excepted, whose mark starts with `prefix`.

    A prefix that ends in a zero byte stands for the whole mark.
    """
    wanted = f"{MARK}={prefix}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and carries(int(name), wanted):
            yield int(name)


def carries(pid: int, wanted: bytes) -> bool:
    """Whether the process is our user's and its environment has an entry that starts with `wanted`."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0" + wanted in b"\0" + file.read()
    except OSError:
        return False

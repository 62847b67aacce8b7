"""Starting the engine's process so that it cannot outlive the shim, and whether memory ran out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable

from xserve.runtime.shim.spec import Spec

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# The kernel prefers to kill an engine over the daemon and its shims when memory runs out.
_OOM_SCORE_ADJ = "500"

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """From now on every orphan below this process becomes its child, however it forked. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def spawn(spec: Spec, output: int, umask: int) -> subprocess.Popen[bytes]:
    """Start the engine in a session of its own, its output going to the file descriptor `output`.

    It is killed when the shim dies. Raises OSError, ValueError or subprocess.SubprocessError.
    """
    return subprocess.Popen(
        spec.argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=spec.env,
        cwd=spec.directory,
        start_new_session=True,
        umask=umask,
        # Allowed here: the shim has one thread, and this is it.
        preexec_fn=_tie_to(os.getpid()),  # noqa: PLW1509
    )


def oom_kills() -> int:
    """How many processes the kernel killed for memory in our cgroup so far; 0 where it does not tell."""
    for path in _memory_events():
        try:
            with open(path, encoding="ascii") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
        except (OSError, StopIteration):
            continue
    return 0


def ran_out_of_memory(number: int | None, *, by_us: bool, kills_before: int) -> bool:
    """Whether an end by that signal was the kernel's doing: its counter rose, and we sent no SIGKILL."""
    return number == signal.SIGKILL and not by_us and oom_kills() > kills_before


def _memory_events() -> list[str]:
    """Where the counter may be, for version 2 of cgroups and for version 1."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return []
    v2 = [f"/sys/fs/cgroup{path}/memory.events" for _, names, path in lines if not names]
    v1 = [f"/sys/fs/cgroup/memory{path}/memory.oom_control" for _, names, path in lines if names == "memory"]
    return v2 + v1


def _tie_to(shim: int) -> Callable[[], None]:
    def tie() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != shim:
            os._exit(127)  # the shim died before the signal was asked for
        _prefer_as_victim()

    return tie


def _prefer_as_victim() -> None:
    # A preference, not a promise: some containers forbid it.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_OOM_SCORE_ADJ)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))

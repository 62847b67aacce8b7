"""Everything below this process: hearing of its signals, burying its dead, killing what is left.

As a subreaper the shim inherits every orphan of its tree, so "no child is left", which the kernel itself
answers, means that the tree is gone, however its members forked, changed session or lost their parents.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from xserve.runtime.shim.engine import become_subreaper
from xserve.runtime.tree import descendants

_LOOK_AGAIN = 0.01  # seconds between two looks at a tree that is being killed


class Reaper:
    """Use it in the main thread, once per process."""

    def __init__(self) -> None:
        """Become the reaper, and turn signals into bytes on a pipe. Raises OSError."""
        become_subreaper()
        self.wakeup, write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    def heard(self) -> bytes:
        """The numbers of the signals that came since the last call."""
        try:
            return os.read(self.wakeup, 512)
        except BlockingIOError:
            return b""

    def bury(self) -> Iterator[tuple[int, int]]:
        """(pid, exit code, or minus the signal) of each child that ended. Raises ChildProcessError if none is left."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """SIGKILL to every process of the tree as it is now."""
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def extinguish(self) -> Iterator[tuple[int, int]]:
        """Kill until the tree is gone, however long the kernel takes; gives the dead as `bury` does."""
        with contextlib.suppress(ChildProcessError):
            while True:
                yield from self.bury()
                self.kill()
                time.sleep(_LOOK_AGAIN)

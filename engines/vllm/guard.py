"""No process of vLLM outlives its server.

vLLM's engine core and its workers are processes of their own and hold the memory. When the server is killed they
go on for good. A small process that is forked before anything is loaded waits for the server's end, whatever it
is, and then ends the process group. The shim of the daemon does the same for the whole tree; this holds without it.
"""

from __future__ import annotations

import os
import select
import signal


def leave_nothing_behind() -> None:
    """End this process's group when this process ends. The process becomes the leader of a group if it is none."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    server = os.getpid()
    if os.fork() == 0:
        _guard(server)


def _guard(server: int) -> None:
    """Wait for the end of the process, then end its group, which is also ours. Does not return."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group, and mean the server
    try:
        if os.getppid() == server:
            select.select([os.pidfd_open(server)], [], [])
    finally:
        os.killpg(server, signal.SIGKILL)

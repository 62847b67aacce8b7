"""The misdeeds of a process as a whole."""

from __future__ import annotations

import os
import signal
import sys
import threading

from behaviour import Behaviour

_eaten: list[bytearray] = []


def commit(behaviour: Behaviour) -> None:
    """Do all that is to be done at the start. May not return."""
    if behaviour.exit_code >= 0:
        print(f"fake: leaving with code {behaviour.exit_code}, as told.", file=sys.stderr, flush=True)
        os._exit(behaviour.exit_code)
    if behaviour.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(behaviour.leak_children):
        leak_child()
    if behaviour.eat_memory_mib:
        _eaten.append(bytearray(b"x" * (behaviour.eat_memory_mib << 20)))
    if behaviour.flood_log:
        threading.Thread(target=flood_log, args=(behaviour.flood_log,), daemon=True).start()


def leak_child() -> None:
    """Leave behind a process in a session of its own that nobody is the parent of."""
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        os._exit(0)
    os.waitpid(child, 0)


def flood_log(kind: str) -> None:
    """Write for ever, as fast as it is read."""
    piece = b"x" * 4096 + (b"\n" if kind == "lines" else b"")
    while True:
        os.write(1, piece)


def crash(why: str) -> None:
    """Die at once, with code 1 and nothing tidied."""
    print(f"fake: crashing {why}, as told.", file=sys.stderr, flush=True)
    os._exit(1)

"""From nothing to a daemon that answers, and what it holds while nobody asks it anything."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from .daemon import Daemon, config_directory
from .figure import Figure

_RUNS = 5


def measure() -> Iterator[Figure]:
    """Start and idle memory with an empty config directory."""
    with config_directory() as config:
        runs = [_start(config) for _ in range(_RUNS)]
    taken, resident = zip(*runs, strict=True)
    note = f"until the first pass is done; median of {_RUNS}, fastest {min(taken):.2f} s"
    yield Figure("daemon, start to API answering", statistics.median(taken), "s", most=1.0, note=note)
    yield Figure("daemon, resident memory, idle", statistics.median(resident), "MB", most=80.0)


def _start(config: Path) -> tuple[float, float]:
    """Seconds until it accepts requests, and megabytes a moment later."""
    began = time.perf_counter()
    daemon = Daemon(config)
    try:
        daemon.wait_ready()
        taken = time.perf_counter() - began
        return taken, daemon.resident()
    finally:
        daemon.leave()

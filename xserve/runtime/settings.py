"""What an operator may tune about the local runtime."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from xserve.runtime.shim.spec import Policy


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Defaults suit one machine with engines that load for seconds or minutes."""

    policy: Policy = "stop"
    """When the daemon dies: `stop` the engines with it, or `keep` them for the next daemon."""
    adopt_timeout: float = 300.0
    """Seconds that kept engines wait for the next daemon before they stop by themselves."""
    log_max_bytes: int = 16 * 1024 * 1024
    """Size in bytes at which an instance's log is rotated."""
    log_keep: int = 3
    """Rotated logs kept per instance, beside the current one."""
    dead_keep: int = 20
    """Directories (logs and records) kept of instances that ended, the newest ones."""
    health_interval: float = 5.0
    """Seconds between two looks at a ready engine."""
    health_deadline: float = 5.0
    """Seconds that an engine has for an answer on its health path."""
    health_misses: int = 3
    """Failed looks in a row that make a ready engine unhealthy."""
    probe_deadline: float = 60.0
    """Seconds that an engine has for the tiny real request that proves it ready."""
    python: str = sys.executable
    """Interpreter that runs the shims; only its standard library is used."""

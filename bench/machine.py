"""Where the figures were taken: without this they mean nothing."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("xserve", "pydantic", "uvicorn", "uvloop", "httptools", "watchdog", "xllamacpp")


def facts() -> dict[str, Any]:
    """Processor, memory, load and versions. The load is that of others as long as nothing was measured yet."""
    return {
        "processor": _find("/proc/cpuinfo", r"model name\s*: (.+)"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int(_find("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) // 1024,
        "load_average": [round(each, 2) for each in os.getloadavg()],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def describe(known: dict[str, Any]) -> str:
    """The facts in three lines."""
    versions = ", ".join(f"{name} {number}" for name, number in known["versions"].items())
    load = ", ".join(str(each) for each in known["load_average"])
    return (
        f"{known['cores']} cores of {known['processor']}, {known['memory_mib']:,} MiB, Linux {known['kernel']}\n"
        f"Python {known['python']}, {versions}\n"
        f"load average at the start: {load} (what others run meanwhile makes every figure worse)"
    )


def _find(path: str, pattern: str) -> str:
    found = re.search(pattern, Path(path).read_text())
    return found[1] if found else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

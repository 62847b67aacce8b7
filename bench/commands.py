"""How long people and configuration managers wait for a command."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .daemon import ENVIRONMENT, XSERVE, config_directory, definition, place
from .figure import Figure

_RUNS = 20


def measure() -> Iterator[Figure]:
    """`xserve check` of one file, alone and among others; the bare command."""
    with config_directory() as config:
        weights = config / "weights.gguf"
        weights.write_bytes(b"GGUF" + bytes(64))
        candidate = config.parent / "tmpab12cd"
        place(candidate, {**definition("candidate", str(weights)), "chat_template": "{{ messages }}"})
        yield _timed("xserve --version", "--version", most=250.0)
        yield _timed("xserve check FILE, no other files", *_check(config, candidate), most=250.0)
        for number in range(100):
            place(config / "models.d" / f"model-{number}.json", definition(f"model-{number}", str(weights)))
        place(config / "deploy.yaml", {"version": 1, "models": {"chat": {"model": "model-7", "engine": "llama.cpp"}}})
        yield _timed("xserve check FILE, among 100 definitions", *_check(config, candidate))


def _check(config: Path, candidate: Path) -> list[str]:
    return ["check", str(candidate), "--config-dir", str(config)]


def _timed(name: str, *words: str, most: float | None = None) -> Figure:
    taken = [_run([*XSERVE, *words]) for _ in range(_RUNS + 1)][1:]
    note = f"wall clock, median of {_RUNS}; fastest {min(taken):.0f} ms"
    return Figure(name, statistics.median(taken), "ms", most=most, note=note)


def _run(command: list[str]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, env=ENVIRONMENT)
    return (time.perf_counter() - began) * 1000

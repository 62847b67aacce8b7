"""`python -m bench`: measure, print a table, keep the figures as JSON.

python -m bench [--only NAME ...] [--long] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import commands, deploy, files, gateway, memory, start, throughput
from .figure import Figure, table
from .machine import describe, facts

SUITES: dict[str, Callable[[], Iterator[Figure]]] = {
    "commands": commands.measure,
    "start": start.measure,
    "gateway": gateway.measure,
    "deploy": deploy.measure,
    "files": files.measure,
    "engines": throughput.measure,
    "memory": memory.measure,
    "engines-long": throughput.measure_long,
}
_LONG = {"engines-long"}  # takes minutes: only where it is asked for
_RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Run the suites that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures what README promises.")
    parser.add_argument("--only", nargs="+", choices=list(SUITES), metavar="NAME", help=_names())
    parser.add_argument("--long", action="store_true", help="Also " + ", ".join(sorted(_LONG)))
    parser.add_argument("--json", type=Path, metavar="FILE", help="Default: bench/results/DATE.json")
    options = parser.parse_args()
    names = options.only or [name for name in SUITES if options.long or name not in _LONG]
    known = facts()
    figures = [figure for name in names for figure in _run(name)]
    print(f"\n{describe(known)}\n\n{table(figures)}")
    print(f"\nwritten to {_keep(options.json, known, figures)}")


def _names() -> str:
    return "Only these: " + ", ".join(SUITES)


def _run(name: str) -> Iterator[Figure]:
    print(f"measuring: {name} ...", flush=True)
    yield from SUITES[name]()


def _keep(path: Path | None, known: dict[str, Any], figures: list[Figure]) -> Path:
    now = datetime.now(UTC)
    if path is None:
        _RESULTS.mkdir(exist_ok=True)
        path = _RESULTS / f"{now:%Y-%m-%dT%H%M%S}.json"
    rows = [{**asdict(each), "verdict": each.verdict} for each in figures]
    path.write_text(json.dumps({"taken": now.isoformat(), "machine": known, "figures": rows}, indent=2) + "\n")
    return path


if __name__ == "__main__":
    main()

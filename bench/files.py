"""How fast the daemon follows its files, and what thousands of them cost.

A file counts as listed when the API answers for the name that it declares. The question is asked every few
milliseconds over one connection; the time runs from the rename itself.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .daemon import Daemon, config_directory, definition, place, prepare, serving, until
from .figure import Figure

_SIZES = (1, 1_000, 10_000)
_CHANGES = 9


def measure() -> Iterator[Figure]:
    """Changes among few and many files; start and memory with many."""
    for others in _SIZES:
        with config_directory() as config:
            for number in range(others):
                place(config / "models.d" / f"other-{number}.json", _model(f"other-{number}"))
            if others == _SIZES[-1]:
                yield from _starts(config, others)
            with serving(config) as daemon:
                yield from _changes(daemon, config / "models.d", others)


def _starts(config: Path, others: int) -> Iterator[Figure]:
    """The first start reads everything, the second trusts the journal."""
    for name in ("cold start", "warm restart"):
        began = time.perf_counter()
        with serving(config) as daemon:
            taken = time.perf_counter() - began
            resident = daemon.resident()
        yield Figure(f"{name} with {others:,} definitions", taken, "s", note="until the first pass is done")
        yield Figure(f"resident memory after it, {others:,} definitions", resident, "MB")


def _changes(daemon: Daemon, folder: Path, others: int) -> Iterator[Figure]:
    with contextlib.closing(daemon.connect()) as connection:
        _settle(daemon)
        added = [_until_listed(connection, folder, number) for number in range(_CHANGES)]
        if not {f"new-{number}" for number in range(_CHANGES)} <= _listed(connection):
            raise SystemExit("a definition is answered for, but not listed")
        removed = [_until_gone(connection, folder, number) for number in range(_CHANGES)]
    note = f"median of {_CHANGES}; fastest {min(added):.0f}, slowest {max(added):.0f} ms"
    files = "1 other file" if others == 1 else f"{others:,} other files"
    yield Figure(f"file renamed -> listed, {files}", statistics.median(added), "ms", most=150.0, note=note)
    yield Figure(
        f"file removed -> no longer listed, {files}",
        statistics.median(removed),
        "ms",
        note="a removal counts after 500 ms, as editors remove files for a moment",
    )


def _until_listed(connection: http.client.HTTPConnection, folder: Path, number: int) -> float:
    """Milliseconds from the rename of a new file."""
    rename = prepare(folder / f"new-{number}.json", _model(f"new-{number}"))
    return _timed(rename, lambda: _status(connection, number) == 200)


def _until_gone(connection: http.client.HTTPConnection, folder: Path, number: int) -> float:
    """Milliseconds from the removal of a file."""
    path = folder / f"new-{number}.json"
    return _timed(lambda: os.unlink(path), lambda: _status(connection, number) != 200)


def _timed(act: Callable[[], None], seen: Callable[[], bool]) -> float:
    began = time.perf_counter()
    act()
    until(seen, "the daemon follows its files")
    taken = time.perf_counter() - began
    time.sleep(0.3)  # what a change leaves behind is no part of the next one
    return taken * 1000


def _settle(daemon: Daemon) -> None:
    """Files written within the last two seconds are read again at the next look; wait until that is over."""
    time.sleep(2.5)
    with contextlib.closing(daemon.connect()) as connection:
        connection.request("POST", "/xserve/v1/reload", headers={"Content-Type": "application/json"})
        connection.getresponse().read()


def _status(connection: http.client.HTTPConnection, number: int) -> int:
    connection.request("GET", f"/v1/model_registrations/LLM/new-{number}")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _listed(connection: http.client.HTTPConnection) -> set[str]:
    connection.request("GET", "/v1/model_registrations/LLM")
    return {each["model_name"] for each in json.loads(connection.getresponse().read())}


def _model(name: str) -> dict[str, Any]:
    return definition(name, f"/srv/models/{name}.gguf")

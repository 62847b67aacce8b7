"""Does an engine grow? Ten thousand requests of every sort, and its memory after every hundred of them.

The requests differ in length and count, some are wrong, and some clients leave at once. What is read is the memory
that is the process's own (`VmRSS` without files), so page cache does not blur it. The plot is committed:
`docs/memory.svg`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .daemon import UnixConnection, config_directory
from .figure import Figure
from .load import request
from .plot import Line, plot
from .similarity import ROOT, Kind, deployed, kinds

_REQUESTS = 10_000
_EVERY = 100
_CLIENTS = 8
_SETTLED = 2_000  # requests; by then all buffers have had their largest batch
_PICTURE = ROOT / "docs" / "memory.svg"
_LENGTH = re.compile(rb"content-length: (\d+)")


def measure() -> Iterator[Figure]:
    """Growth per model type, and the picture."""
    lines = []
    for kind in kinds():
        samples = _watch(kind)
        lines.append(Line(f"sentence_transformers, {kind.name}", samples))
        settled = [held for asked, held in samples if asked >= _SETTLED]
        quarter = len(settled) // 4
        growth = sum(settled[-quarter:]) / quarter - sum(settled[:quarter]) / quarter
        note = f"mean of the last quarter over the first, after {_SETTLED:,} of {_REQUESTS:,} requests"
        yield Figure(f"{kind.name} engine, growth of memory", growth, "MB", most=10.0, note=note)
    _PICTURE.parent.mkdir(exist_ok=True)
    _PICTURE.write_text(plot("Memory of an engine over ten thousand requests", "requests", "MB", lines))


def _watch(kind: Kind) -> list[tuple[float, float]]:
    """Requests so far, and megabytes."""
    with config_directory() as config, deployed(config, kind) as (daemon, _):
        pid, path = daemon.instance(kind.name)["pid"], daemon.engine_socket(kind.name)
        samples = [(0.0, _held(pid))]
        sorts = _every_sort(kind)
        for asked in range(_EVERY, _REQUESTS + 1, _EVERY):
            asyncio.run(_send(path, kind, list(itertools.islice(sorts, _EVERY))))
            samples.append((float(asked), _held(pid)))
        _still_right(path, kind)
        return samples


def _every_sort(kind: Kind) -> Iterator[dict[str, Any]]:
    """Requests without end: of one item and of several, written either way, cut, wrong, and left."""
    chance = random.Random(1)
    for sample in itertools.cycle(kind.requests):
        plain = {name: value[:1] if isinstance(value, list) else value for name, value in sample.items()}
        several = {name: value * chance.randint(1, 3) for name, value in plain.items() if isinstance(value, list)}
        yield chance.choices(
            [
                plain,
                {**plain, **several},
                {**plain, "encoding_format": "base64", "prompt": f"{chance.random()}: ", "top_n": 1},
                {**plain, "input": ["word " * 300], "query": "word " * 600, "truncate": chance.random() < 0.2},
                {"input": 5, "documents": 5},
                {**plain, "leave": True},
            ],
            [50, 20, 20, 2, 4, 4],
        )[0]


async def _send(path: str, kind: Kind, bodies: list[dict[str, Any]]) -> None:
    waiting = iter(bodies)

    async def client() -> None:
        for body in waiting:
            await _ask(path, kind, dict(body))

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))


async def _ask(path: str, kind: Kind, body: dict[str, Any]) -> None:
    """Ask over a connection of its own, and read the answer unless the client is to leave."""
    leave = body.pop("leave", False)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request(json.dumps({"model": kind.name, **body}).encode(), kind.path))
    await writer.drain()
    if not leave:
        found = _LENGTH.search((await reader.readuntil(b"\r\n\r\n")).lower())
        await reader.readexactly(int(found[1]) if found else 0)
    writer.close()


def _still_right(path: str, kind: Kind) -> None:
    """After all that, it answers."""
    connection = UnixConnection(path)
    connection.request("POST", kind.path, json.dumps({"model": kind.name, **kind.requests[0]}))
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"it no longer answers: {answer.read().decode()}")
    connection.close()


def _held(pid: int) -> float:
    """Megabytes (10^6 bytes) of memory that are the process's own."""
    found = re.search(r"RssAnon:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0

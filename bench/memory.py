"""Does an engine grow? Ten thousand requests of every sort, and its memory after every hundred of them.

The requests differ in length and count, some are wrong, and some clients leave at once. The largest batches come
first: memory grows to what they take and stays there, and what is looked for is growth after that. What is read is
the memory that is the process's own (`VmRSS` without files), so page cache does not blur it. The plot is committed:
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
from .row import ROOT, Row, deployed
from .texts import embedding, rerank

_REQUESTS = 10_000
_EVERY = 100
_CLIENTS = 8
_SETTLED = 5_000  # requests; the C library finds its level in steps, and a leak would show as well after them
_PICTURE = ROOT / "docs" / "memory.svg"
_TOO_LONG = {"input": ["word " * 300] * 4, "query": "word " * 600}
_LENGTH = re.compile(rb"content-length: (\d+)")


def measure() -> Iterator[Figure]:
    """Growth per model type, and the picture."""
    lines = []
    for row in (embedding(), rerank()):
        samples = _watch(row)
        lines.append(Line(f"{row.engine}, {row.name}", samples))
        settled = [held for asked, held in samples if asked >= _SETTLED]
        quarter = len(settled) // 4
        growth = sum(settled[-quarter:]) / quarter - sum(settled[:quarter]) / quarter
        note = f"mean of the last quarter over the first, after {_SETTLED:,} of {_REQUESTS:,} requests"
        yield Figure(f"{row.name} engine, growth of memory", growth, "MB", most=10.0, note=note)
    _PICTURE.parent.mkdir(exist_ok=True)
    _PICTURE.write_text(plot("Memory of an engine over ten thousand requests", "requests", "MB", lines))


def _watch(row: Row) -> list[tuple[float, float]]:
    """Requests so far, and megabytes."""
    with config_directory() as config, deployed(config, row) as daemon:
        pid, path = daemon.instance(row.name)["pid"], daemon.engine_socket(row.name)
        samples = [(0.0, _held(pid))]
        for _ in range(_CLIENTS):
            asyncio.run(_send(path, row, [_largest(row)] * _CLIENTS))
        sorts = _every_sort(row)
        for asked in range(_EVERY, _REQUESTS + 1, _EVERY):
            asyncio.run(_send(path, row, list(itertools.islice(sorts, _EVERY))))
            samples.append((float(asked), _held(pid)))
        _still_right(path, row)
        return samples


def _every_sort(row: Row) -> Iterator[dict[str, Any]]:
    """Requests without end: of one item and of several, written either way, cut, wrong, and left."""
    chance = random.Random(1)
    for sample in itertools.cycle(question.asked for question in row.questions):
        plain = {name: value[:1] if isinstance(value, list) else value for name, value in sample.items()}
        several = {name: value * chance.randint(1, 3) for name, value in plain.items() if isinstance(value, list)}
        yield chance.choices(
            [
                plain,
                {**plain, **several},
                {**plain, "encoding_format": "base64", "prompt": f"{chance.random()}: ", "top_n": 1},
                {**plain, **_TOO_LONG, "truncate": chance.random() < 0.2},
                {"input": 5, "documents": 5},
                {**plain, "leave": True},
            ],
            [50, 20, 20, 2, 4, 4],
        )[0]


def _largest(row: Row) -> dict[str, Any]:
    """Several items that are cut to the longest that the model takes."""
    return {**row.questions[0].asked, **_TOO_LONG, "documents": ["word " * 600] * 4, "truncate": True}


async def _send(path: str, row: Row, bodies: list[dict[str, Any]]) -> None:
    waiting = iter(bodies)

    async def client() -> None:
        for body in waiting:
            await _ask(path, row, dict(body))

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))


async def _ask(path: str, row: Row, body: dict[str, Any]) -> None:
    """Ask over a connection of its own, and read the answer unless the client is to leave."""
    leave = body.pop("leave", False)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request(json.dumps({"model": row.name, **body}).encode(), row.questions[0].path))
    await writer.drain()
    if not leave:
        found = _LENGTH.search((await reader.readuntil(b"\r\n\r\n")).lower())
        await reader.readexactly(int(found[1]) if found else 0)
    writer.close()


def _still_right(path: str, row: Row) -> None:
    """After all that, it answers."""
    connection = UnixConnection(path)
    question = row.questions[0]
    connection.request("POST", question.path, json.dumps({"model": row.name, **question.asked}))
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"it no longer answers: {answer.read().decode()}")
    connection.close()


def _held(pid: int) -> float:
    """Megabytes (10^6 bytes) of memory that are the process's own."""
    found = re.search(r"RssAnon:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0

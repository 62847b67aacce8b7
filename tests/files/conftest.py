"""A directory to play in, with a clock that only moves when a test moves it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from xserve.core.judge import Fault, Verdict
from xserve.files.journal import Journal
from xserve.files.sources import Source
from xserve.files.store import Look, Store


def judge(kind: str, data: Any) -> Verdict:
    """Accept any mapping with a text `name` (models) or `models` (deploy files), as long as it is not `bad`."""
    if not isinstance(data, Mapping) or "bad" in data:
        return Verdict(kind, None, (Fault(("bad",), "is bad", on_key=True),))
    needed = {"model": "name", "deploy": "models", "settings": "port"}[kind]
    if needed not in data:
        return Verdict(kind, None, (Fault((), f"the required key {needed!r} is missing"),))
    return Verdict(kind, dict(data), ())


def names(kind: str, data: Any) -> dict[tuple[str, ...], tuple[str | int, ...]]:
    if kind == "model":
        return {("LLM", data["name"]): ("name",)}
    if kind == "deploy":
        return {(name,): ("models", name) for name in data["models"]}
    return {}


@dataclass
class Clock:
    """Monotonic and wall clock in one; both stand still for a test unless it advances them."""

    elapsed: float = 1000.0
    stopped: int | None = None

    def __call__(self) -> float:
        return self.elapsed

    def wall_ns(self) -> int:
        return self.stopped or time.time_ns() + int((self.elapsed - 1000.0) * 1e9)

    def tick(self) -> None:
        """Stop the wall clock at this moment: what is written from now on is young, however slow the test."""
        self.stopped = time.time_ns()

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds


@dataclass
class Place:
    """Layers below one directory, and the store that looks at them."""

    root: Path
    clock: Clock = field(default_factory=Clock)
    version: str = "1"
    rejected: list[str] = field(default_factory=list)
    keeps_journal: bool = True
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        for source in self.sources():
            os.makedirs(source.directory, exist_ok=True)
        self.start()

    def sources(self) -> list[Source]:
        root, roots = self.root, (str(self.root),)
        return [
            Source("builtin", "model", str(root / "builtin"), roots=roots),
            Source("admin", "model", str(root / "models.d"), roots=roots),
            Source("admin", "deploy", str(root / "deploy.yaml"), single=True, roots=roots),
            Source("admin", "deploy", str(root / "deploy.d"), roots=roots),
            Source("state", "model", str(root / "state"), roots=roots),
            Source("runtime", "model", str(root / "runtime"), roots=roots),
        ]

    @property
    def journal(self) -> Path:
        return self.root / "accepted"

    def start(self) -> None:
        """Begin anew, as after a restart of the daemon."""
        self.store = Store(
            self.sources(),
            self.judge,
            names,
            Journal(str(self.journal)) if self.keeps_journal else None,
            version=self.version,
            clock=self.clock,
            wall_ns=self.clock.wall_ns,
        )

    def judge(self, kind: str, data: Any) -> Verdict:
        """As `judge`, but of late some names are rejected."""
        if isinstance(data, Mapping) and data.get("name") in self.rejected:
            return Verdict(kind, None, (Fault(("name",), "is rejected"),))
        return judge(kind, data)

    def path(self, name: str) -> Path:
        return self.root / name if "/" in name or name == "deploy.yaml" else self.root / "models.d" / name

    def put(self, name: str, text: str) -> Path:
        """Replace a file atomically, with its timestamps as a careful writer leaves them."""
        path = self.path(name)
        temporary = path.parent / f".{path.name}.tmp"
        temporary.write_text(text)
        stat = temporary.stat()
        os.utime(temporary, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10_000_000))
        temporary.rename(path)
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a file in place."""
        path = self.path(name)
        path.write_text(text)
        return path

    def look(self, **options: bool) -> Look:
        return self.store.look(**options)

    def settle(self) -> Look:
        """Look until nothing is open any more."""
        look = self.look()
        for _ in range(10):
            if look.again_in is None:
                return look
            self.clock.advance(look.again_in)
            look = self.look()
        raise AssertionError(f"it does not settle: {look}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def make_place() -> Callable[..., Place]:
    """Places in directories of the test's own choice."""

    def make(root: Path, *, journal: bool = True) -> Place:
        return Place(root, keeps_journal=journal)

    return make

"""Engines started as the daemon would start them, and the option that chooses one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from . import interpreters
from .harness import Engine
from .roster import subjects
from .roster.llama_cpp import ROOT
from .subject import Subject

Starter = Callable[..., Engine]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", help="hold only this engine against the contract")
    parser.addoption("--python", help="run engines by this interpreter, not by that of the environment made for them")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a `subject` runs on every engine, backend and model type it has a marker for."""
    if "subject" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("types")
    engine = metafunc.config.getoption("--engine", None)
    chosen = [
        pytest.param(subject, id=subject.id, marks=_marks(metafunc, subject))
        for subject in subjects()
        if (marker is None or subject.type in marker.args) and engine in (None, subject.engine)
    ]
    metafunc.parametrize("subject", chosen, scope="module")


def _marks(metafunc: pytest.Metafunc, subject: Subject) -> list[pytest.MarkDecorator]:
    afresh = "start" in metafunc.fixturenames and subject.heavy
    if (subject.long or afresh) and not metafunc.config.getoption("--long", None):
        return [pytest.mark.skip(reason="starts a heavy engine: --long")]
    return subject.marks()


def pytest_configure(config: pytest.Config) -> None:
    interpreters.given = config.getoption("--python", None)
    config.addinivalue_line("markers", "types(*types): the model types that a contract test is about")


@pytest.fixture(scope="module")
def engine(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The subject's engine, ready; one for all tests of a module that do it no harm."""
    with Engine(subject, tmp_path_factory.mktemp("engine")) as started:
        started.wait_ready()
        yield started


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Start engines that end with the test."""
    started: list[Engine] = []

    def begin(subject: Subject, **changes: object) -> Engine:
        started.append(Engine(subject.but(**changes), tmp_path))
        return started[-1]

    yield begin
    for engine in started:
        engine.kill()


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the engine llama_cpp as the engine's own process would; it is forgotten afterwards."""
    for folder in ("_kit", "llama_cpp"):
        monkeypatch.syspath_prepend(str(ROOT / "engines" / folder))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]

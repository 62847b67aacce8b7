"""Finds engines: the ones that ship with xserve and those in further folders. Nothing of them is imported."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from xserve.core.engines import Engine
from xserve.core.environment import Environment, Readiness
from xserve.core.judge import judge
from xserve.core.manifest import Backend, Manifest
from xserve.core.problems import Problem
from xserve.files.examine import locate
from xserve.files.syntax import SyntaxFault, parse
from xserve.runtime.environments import Environments

_PACKAGE = Path(__file__).resolve().parent.parent
_PLATFORM = f"{sys.implementation.cache_tag}-{platform.machine()}"
_CARDS = "/proc/driver/nvidia/version"  # is there where NVIDIA's driver is loaded


def bundled(name: str) -> Path:
    """A folder that ships with xserve: inside the package when installed, beside it in a checkout.

    Raises FileNotFoundError.
    """
    for folder in (_PACKAGE / f"_{name}", _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"xserve was installed without its folder {name!r}")


@dataclass(frozen=True, slots=True)
class Found:
    """An engine's folder with what its manifest says."""

    manifest: Manifest
    folder: str


def discover(extra: Sequence[str] = ()) -> tuple[list[Found], list[Problem]]:
    """Every engine, by name; a folder of `extra` goes before a shipped one of the same name."""
    found: dict[str, Found] = {}
    problems: list[Problem] = []
    for parent in (*map(Path, extra), bundled("engines")):
        for file in _manifests(parent):
            engine = _load(file)
            if isinstance(engine, list):
                problems += engine
            else:
                found.setdefault(engine.manifest.name, engine)
    return [found[name] for name in sorted(found)], problems


def _manifests(parent: Path) -> Iterable[Path]:
    return sorted(parent.glob("*/engine.yaml"))


def _load(file: Path) -> Found | list[Problem]:
    """The engine, or what is wrong with its manifest."""
    try:
        document = parse(file.read_bytes())
    except SyntaxFault as fault:
        return [Problem(str(file), fault.line, fault.column, "", fault.message)]
    except OSError as error:
        return [Problem(str(file), 0, 0, "", f"cannot be read: {error.strerror}")]
    try:
        return Found(Manifest.model_validate(document.data), str(file.parent))
    except ValidationError:
        return list(locate(str(file), document, judge("engine", document.data)))


def equip(found: Found, environments: Environments, *, make: bool, backend: str | None = None) -> Engine:
    """The engine with the first of its backends that can be used now, else the first one that can be made.

    `make`: whether environments are made on demand. `backend`: only this one is considered.
    """
    manifest, folder = found.manifest, found.folder
    if not manifest.backends:
        return Engine(manifest, folder, "", sys.executable)
    makeable: Engine | None = None
    for each in _usable_here(manifest.backends, backend):
        if is_present(each):
            return Engine(manifest, folder, each.name, sys.executable)
        if not each.packages:
            continue
        environment = environment_of(manifest, each)
        readiness, note = environments.readiness(environment)
        engine = Engine(manifest, folder, each.name, environments.python(environment), environment, readiness, note)
        if engine.installed:
            return engine
        makeable = makeable or engine
    return makeable if makeable and make else Engine(manifest, folder, None, readiness=Readiness.MISSING)


def _usable_here(backends: Sequence[Backend], name: str | None) -> list[Backend]:
    here = {"any", accelerator()}
    return [each for each in backends if each.accelerator in here and name in (None, each.name)]


def accelerator() -> str:
    """What this machine computes with: `cuda` where NVIDIA's driver is loaded, else `cpu`."""
    return "cuda" if os.path.exists(_CARDS) else "cpu"


def environment_of(manifest: Manifest, backend: Backend) -> Environment:
    """The environment that a backend asks for."""
    return Environment(manifest.name, backend.name, backend.packages, backend.without, _PLATFORM)


def is_present(backend: Backend) -> bool:
    """Whether it is installed beside xserve."""
    if backend.module is not None and not _is_importable(backend.module):
        return False
    return backend.program is None or shutil.which(backend.program) is not None


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # something in this process goes by that name and is no module of the ordinary kind
        return False

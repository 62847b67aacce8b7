"""Finds engines: the ones that ship with xserve and those in further folders. Nothing of them is imported."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from xserve.core.engines import Engine
from xserve.core.manifest import Backend, Manifest
from xserve.core.problems import Problem
from xserve.files.syntax import SyntaxFault, parse

_PACKAGE = Path(__file__).resolve().parent.parent


def bundled(name: str) -> Path:
    """A folder that ships with xserve: inside the package when installed, beside it in a checkout.

    Raises FileNotFoundError.
    """
    for folder in (_PACKAGE / f"_{name}", _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"xserve was installed without its folder {name!r}")


def discover(extra: Sequence[str] = ()) -> tuple[list[Engine], list[Problem]]:
    """Every engine, by name; a folder of `extra` goes before a shipped one of the same name."""
    found: dict[str, Engine] = {}
    problems: list[Problem] = []
    for parent in (*map(Path, extra), bundled("engines")):
        for file in _manifests(parent):
            engine = _load(file)
            if isinstance(engine, Problem):
                problems.append(engine)
            else:
                found.setdefault(engine.manifest.name, engine)
    return [found[name] for name in sorted(found)], problems


def _manifests(parent: Path) -> Iterable[Path]:
    return sorted(parent.glob("*/engine.yaml"))


def _load(file: Path) -> Engine | Problem:
    try:
        manifest = Manifest.model_validate(parse(file.read_bytes()).data)
    except SyntaxFault as fault:
        return Problem(str(file), fault.line, fault.column, "", fault.message)
    except (OSError, ValidationError) as error:
        return Problem(str(file), 0, 0, "", f"not a usable engine manifest: {error}")
    return Engine(manifest, str(file.parent), _installed_backend(manifest.backends), sys.executable)


def _installed_backend(backends: Sequence[Backend]) -> str | None:
    if not backends:
        return ""
    return next((backend.name for backend in backends if _is_installed(backend)), None)


def _is_installed(backend: Backend) -> bool:
    if backend.module is not None and not _is_importable(backend.module):
        return False
    return backend.program is None or shutil.which(backend.program) is not None


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # something in this process goes by that name and is no module of the ordinary kind
        return False

"""Launchers of other people: found in the launch file's folders and nowhere else.

A dotted path could name any callable of the interpreter, `os.system` among them. So the first part of the path
must be found in the folders, and must not be found anywhere else: what is imported is then what was meant.
Code written for Xinference imports its base class from there; those names are offered unless the package is there.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from xserve_engine import flexible
from xserve_engine.launch import BAD_DEFINITION, Refusal

XINFERENCE = ("xinference", "xinference.model", "xinference.model.flexible", "xinference.model.flexible.core")


def find(name: str, folders: Sequence[str]) -> Callable[..., Any]:
    """The callable of this dotted path in one of the folders. Refuses all else."""
    module_name, _, attribute = name.rpartition(".")
    _require_own(name, module_name.partition(".")[0], folders)
    sys.path.extend(map(os.path.abspath, folders))
    _lend_names()
    found = getattr(_load(name, module_name), attribute, None)
    if not callable(found):
        raise Refusal(BAD_DEFINITION, f"The module {module_name} has no function {attribute}, which {name} names.")
    return found  # type: ignore[no-any-return]


def _require_own(name: str, top: str, folders: Sequence[str]) -> None:
    """Refuse a first part that the folders do not have, or that something else has too."""
    places = ", ".join(folders) or "launcher_dirs in xserve.yaml names none"
    if not top or PathFinder.find_spec(top, [os.path.abspath(folder) for folder in folders]) is None:
        raise Refusal(BAD_DEFINITION, f"The launcher {name} is in none of the folders for launchers ({places}).")
    if top in sys.modules or importlib.util.find_spec(top) is not None:
        raise Refusal(
            BAD_DEFINITION, f"Another module is called {top} already: give that of the launcher {name} another name."
        )


def _load(name: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise Refusal(BAD_DEFINITION, f"The launcher {name} names no module: there is no {error.name}.") from None
        raise


def _lend_names() -> None:
    """Let code import the base class by its name in Xinference, if that is not installed here."""
    if importlib.util.find_spec("xinference") is not None:
        return
    for name in XINFERENCE:
        module = sys.modules[name] = ModuleType(name, "Names that launchers written for Xinference import.")
        module.__path__ = []
        if ".flexible" in name:
            module.__dict__.update(FlexibleModel=flexible.FlexibleModel, FlexibleModelSpec=flexible.FlexibleModelSpec)

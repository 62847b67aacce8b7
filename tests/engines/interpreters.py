"""The interpreters that run engines: one per environment, made ahead by `xserve engines --install`."""

from __future__ import annotations

import functools

from xserve.core.engines import Engine
from xserve.daemon.discovery import discover, equip
from xserve.runtime.environments import Environments

from ..weights import ROOT, lacking

ENVIRONMENTS = ROOT / ".cache" / "environments"

given: str | None = None  # by --python


@functools.cache
def equipped(engine: str, backend: str | None = None) -> Engine:
    """The engine as it stands on this machine, with this one of its backends."""
    (found,) = [one for one in discover()[0] if one.manifest.name == engine]
    return equip(found, Environments(ENVIRONMENTS), make=True, backend=backend)


def interpreter(engine: str, backend: str | None = None) -> tuple[str, str]:
    """Path of the interpreter for an engine, and why there is none."""
    if given:
        return given, ""
    here = equipped(engine, backend)
    return here.python, "" if here.installed else lacking(f"{engine} is {here.missing}")

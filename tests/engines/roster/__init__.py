"""Who stands before the contract: one module per engine, each with a function `subjects`."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ..subject import Subject


@functools.cache
def subjects() -> tuple[Subject, ...]:
    """All of them."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(one for name in modules for one in importlib.import_module(f"{__name__}.{name}").subjects())

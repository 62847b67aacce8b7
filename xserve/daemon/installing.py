"""`engines --install`: makes environments ahead of their first use, without a daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from xserve.core.engines import Engine, find_engine, no_such_engine
from xserve.daemon.discovery import discover, equip
from xserve.daemon.offline import Offline
from xserve.daemon.world import environments_of
from xserve.runtime.environments import Environments, MakingFailedError


class NotInstalledError(Exception):
    """A sentence about why an engine could not be installed."""


def install(config: str | None, directory: str | None, names: Sequence[str], tell: Callable[[str], None]) -> list[str]:
    """Make the environments of these engines; returns a sentence for each. Raises NotInstalledError.

    Without names: of every engine that has one. One that fails keeps none of the others from being made. `directory`
    holds the environments, in place of the one that the settings name.
    """
    offline = Offline.open(config)
    environments = (
        Environments(Path(directory).absolute())
        if directory
        else environments_of(offline.world.layers, offline.settings)
    )
    engines = [equip(each, environments, make=True) for each in discover(offline.settings.engine_dirs)[0]]
    wanted = [_named(name, engines) for name in names] or [each for each in engines if each.environment]
    done: list[str] = []
    failed: list[str] = []
    for engine in wanted:
        try:
            done.append(_install(engine, environments, tell))
        except NotInstalledError as error:
            failed.append(str(error))
    if failed:
        raise NotInstalledError("\n".join([*failed, *done]))
    return done


def _named(name: str, engines: Sequence[Engine]) -> Engine:
    engine = find_engine(name, engines)
    if engine is None:
        raise NotInstalledError(no_such_engine(name, [each.manifest.name for each in engines]))
    return engine


def _install(engine: Engine, environments: Environments, tell: Callable[[str], None]) -> str:
    name = engine.manifest.name
    if engine.installed:
        return f"{name} is installed: {engine.python}"
    if engine.environment is None:
        raise NotInstalledError(f"{name}: {engine.missing}")
    try:
        environments.make(engine.environment, lambda words: tell(f"{name}: {words}"))
    except MakingFailedError as error:
        raise NotInstalledError(f"the environment of {name} cannot be made: {error}") from error
    return f"{name} is installed: {engine.python}"

"""The files of a configuration for those who only ask: no daemon is needed, and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass

from xserve.core.problems import Problem
from xserve.core.settings import Settings
from xserve.daemon.settings import load_settings
from xserve.daemon.world import World
from xserve.files.layers import Layers


@dataclass(frozen=True, slots=True)
class Offline:
    """A configuration as a daemon would find it that starts now."""

    world: World
    settings: Settings  # the defaults where the file has faults
    problems: tuple[Problem, ...]  # of the settings

    @classmethod
    def open(cls, config: str | None) -> Offline:
        """The configuration in `config`, else where a daemon would look. Nothing is given time to settle."""
        layers = Layers.find(config)
        loaded = load_settings(layers)
        settings, problems = (Settings(version=1), tuple(loaded)) if isinstance(loaded, list) else (loaded, ())
        world = World(layers, settings, settle=0.0, hold=0.0, keep=False)
        return cls(world, settings, problems)

    def missing(self) -> list[Problem]:
        """That there is no config directory: a slip in its path must not look like a clean bill."""
        layers = self.world.layers
        return [] if layers.exists() else [Problem(layers.describe(), 0, 0, "", "there is no such directory")]

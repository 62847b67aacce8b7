"""What should run, as values: registrations, deploy entries, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xserve.core.deploy import Entry
from xserve.core.engines import Engine, Gates
from xserve.core.environment import Environment
from xserve.core.exposure import Exposure
from xserve.core.launch import Launch
from xserve.core.manifest import ModelType
from xserve.core.ports import Command, Wish
from xserve.core.problems import Problem
from xserve.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Registration:
    """An accepted definition."""

    type: ModelType
    name: str
    definition: Mapping[str, Any]
    layer: str  # builtin, admin, state or runtime
    path: str
    generation: str  # hash of the parsed document
    stale: bool = False  # a newer version of the file was rejected


@dataclass(frozen=True, slots=True)
class Order:
    """An accepted deploy entry."""

    uid: str
    entry: Entry
    layer: str
    path: str
    generation: str  # hash of the parsed entry, defaults applied
    stale: bool = False  # a newer version of the file was rejected


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of a path that a definition names, without loading anything."""

    kind: str  # "file", "directory" or "" (nothing is there)
    chat_template: bool | None = None  # whether they carry one; None: cannot tell
    names: frozenset[str] | None = None  # what a directory holds
    trouble: str = ""  # a sentence where they cannot be what they should be


Look = Callable[[str, str], Weights]
"""(path, format) -> facts about the weights. Given by the caller: the core looks at no disk."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What should run."""

    uid: str
    launch: Launch
    revision: str
    command: Command
    replicas: int
    wish: Wish
    exposure: Exposure
    order: Order
    registration: Registration
    never_start: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What should run but cannot be started as things are. What runs already stays, unless it lost its definition.

    `exposure` is known once the definition is: clients are then told why, with 503 and not with 404.
    """

    uid: str
    reason: Reason
    sentence: str
    order: Order
    keep: bool = True
    exposure: Exposure | None = None
    place: tuple[str | int, ...] = ()  # what in the entry is at fault; (): the entry itself
    needs: Environment | None = None  # what has to be made first


@dataclass(frozen=True, slots=True)
class Desired:
    """All of it."""

    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Means:
    """What there is to run models with."""

    engines: Sequence[Engine]
    look: Look
    gates: Gates = field(default_factory=Gates)
    before: Mapping[str, Deployment] = field(default_factory=dict)
    """What was wanted before: an engine that is chosen is not changed because a better one was installed."""

    def chosen_before(self, order: Order, registration: Registration) -> str | None:
        """The engine that the same entry got for the same definition."""
        known = self.before.get(order.uid)
        same = (
            known is not None
            and known.order.generation == order.generation
            and known.registration.generation == registration.generation
        )
        return known.launch.engine if known is not None and same else None


@dataclass(frozen=True, slots=True)
class Names:
    """The public names that an entry got besides its own."""

    aliases: tuple[str, ...]
    adapters: tuple[str, ...]

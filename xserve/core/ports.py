"""What the loop needs from the edges, declared by the one who needs it and kept as small as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from xserve.core.events import Event
from xserve.core.launch import Launch
from xserve.core.manifest import Probe

Report = Callable[[Event], None]
"""Called from the event loop's thread, never from another one."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a replica of an engine is run, as the manifest says."""

    argv: tuple[str, ...]  # `{launch}` and `{socket}` still to be filled in by the runtime
    env: tuple[tuple[str, str], ...]
    health: str
    probe: Probe | None
    stop_grace: float  # seconds between SIGTERM and SIGKILL of the tree


class Runtime(Protocol):
    """Makes replicas run. Nothing here blocks or raises: what goes wrong comes back as an event."""

    def start(self, instance: str, launch: Launch, command: Command) -> None:
        """Begin to start a process tree; `Spawned`, `Loaded`, `Answered` or `Exited` follow."""

    def stop(self, instance: str, *, now: bool = False) -> None:
        """End the tree: SIGTERM, grace, SIGKILL (`now`: SIGKILL at once); `Exited` follows, exactly once."""

    def address(self, instance: str) -> str:
        """Path of the unix socket that the instance listens on."""

    def log(self, instance: str) -> str:
        """Path of the instance's log file."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card."""

    index: int
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a replica wants of the machine."""

    count: int = 0  # GPUs; 0: none
    indices: tuple[int, ...] = ()  # these very cards; empty: any


@dataclass(frozen=True, slots=True)
class Grant:
    """The cards that a replica may use."""

    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a replica cannot be placed now."""

    sentence: str


class Placer(Protocol):
    """A placement policy."""

    def __call__(self, wish: Wish, gpus: Sequence[Gpu], taken: Sequence[int]) -> Grant | Refusal:
        """Grant cards out of `gpus`, knowing that the indices in `taken` are in use."""

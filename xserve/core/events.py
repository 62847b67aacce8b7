"""What the runtime reports to the loop. Times are seconds on the loop's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spawned:
    """The engine's process exists."""

    instance: str
    pid: int  # of the engine, not of its shim


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engine's health path answered 200: weights are loaded."""

    instance: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The tiny real request was answered: ready is proved."""

    instance: str
    probed: bool = True  # False: the manifest has no probe for this model type


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """The engine stopped answering, or failed its readiness probe; its tree has to go."""

    instance: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Drained:
    """The last request in flight on a draining instance ended."""

    instance: str


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process tree ended."""

    code: int | None  # None: ended by a signal, or never spawned
    signal: int | None = None
    out_of_memory: bool = False
    sentence: str = ""  # why, where the shim or the runtime knows better than a number
    log_tail: tuple[str, ...] = ()  # the last lines that the engine printed


@dataclass(frozen=True, slots=True)
class Exited:
    """The whole process tree is gone: no process, no socket."""

    instance: str
    exit: Exit


Event = Spawned | Loaded | Answered | Unhealthy | Drained | Exited

"""What the daemon can do to the world, as values; each carries its reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xserve.core.exposure import Exposure
from xserve.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Publish:
    """Answer under these names and limits from now on."""

    uid: str
    exposure: Exposure
    reason: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Answer 404 under this name from now on."""

    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start one replica of the wanted revision."""

    uid: str
    revision: str
    ordinal: int
    gpus: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Send no new requests to this instance."""

    uid: str
    instance: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End this instance's process tree. `fault`: it counts as failed. `now`: without grace."""

    uid: str
    instance: str
    reason: str
    fault: Reason | None = None
    now: bool = False


Action = Publish | Withdraw | Start | Drain | Stop


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a deployment is not as wanted yet."""

    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, why the rest is not done, and when to think again."""

    actions: tuple[Action, ...]
    explanations: Mapping[str, Explanation]  # by public name; absent: it is as wanted
    wake_at: float | None  # on the loop's monotonic clock; None: only an event changes anything


def as_row(action: Action) -> dict[str, Any]:
    """An action as plain data, for `plan --json`, events and tests."""
    row: dict[str, Any] = {"action": type(action).__name__.lower(), "model": action.uid}
    if isinstance(action, Start):
        row |= {"revision": action.revision, "replica": action.ordinal}
    if isinstance(action, Drain | Stop):
        row |= {"instance": action.instance}
    return {**row, "reason": action.reason}

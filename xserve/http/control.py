"""What the handlers need of the daemon, declared by them. Calls are made on the event loop's thread.

Methods raise `core.refused.Refused` for what the caller can mend; anything else is a fault of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from xserve.core.desired import Deployment, Registration
from xserve.core.views import (
    Candidate,
    EngineVerdictView,
    EngineView,
    EventView,
    LogView,
    ModelView,
    PlanView,
    ReloadView,
    StatusView,
    WaitView,
)


class Control(Protocol):
    """The daemon, as the API sees it."""

    def turning(self) -> bool:
        """Whether the loop made a pass lately."""

    def accepting(self) -> bool:
        """Whether the first pass is done and the daemon is not leaving."""

    def status(self) -> StatusView:
        """Everything at a glance."""

    def model(self, name: str) -> ModelView | None:
        """One deployment, by public name or alias."""

    def deployment(self, name: str) -> Deployment | None:
        """What should run under a public name or alias; None where it waits or is unknown."""

    def registrations(self, model_type: str) -> list[Registration]:
        """The visible definitions of a type."""

    def registration(self, model_type: str, name: str) -> Registration | None:
        """One definition."""

    def engines(self) -> list[EngineView]:
        """Every engine, installed or not."""

    def verdicts(self, model: str, model_type: str | None) -> list[EngineVerdictView] | None:
        """What each engine says to each set of weights of a registration; None: no such registration."""

    async def register(self, model_type: str, text: str, *, persist: bool) -> None:
        """Write a definition into the state (`persist`) or runtime layer; returns when it is in force."""

    async def unregister(self, model_type: str, name: str) -> None:
        """Remove a definition from the layers of the API; an unknown name is no fault."""

    async def launch(self, uid: str | None, entry: dict[str, Any], *, persist: bool, wait_ready: bool) -> str:
        """Write a deploy entry (`entry["model"]` is set); returns its public name, when ready if asked so.

        Without `uid` the name of the registration is taken, with a random suffix where that is in use.
        """

    async def terminate(self, uid: str) -> None:
        """Remove a deploy entry of the layers of the API; returns when its replicas take no requests."""

    async def reload(self) -> ReloadView:
        """Read all files now, end holds, and try again what had given up."""

    async def plan(self, candidates: Sequence[Candidate]) -> PlanView:
        """What the daemon would do if the candidates stood in the config directory."""

    async def wait(self, names: Sequence[str], generation: str | None, timeout: float) -> WaitView:
        """Until the named deployments (none: all) are ready, or one cannot be, or `timeout` seconds went by."""

    def events(self, after: int) -> list[EventView]:
        """Kept events with a greater id."""

    def follow_events(self, after: int) -> AsyncIterator[EventView]:
        """Kept and coming events with a greater id, until the daemon leaves."""

    def log(self, uid: str, instance: str | None, lines: int) -> LogView:
        """The last lines of the newest (or the named) instance of a deployment, living or dead."""

    def follow_log(self, uid: str, instance: str | None, lines: int) -> AsyncIterator[str]:
        """Those lines and the ones to come, until the instance ends."""

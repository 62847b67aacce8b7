"""The routes of our own: what is there, what would be done, what happened, and the order to look again."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse, Response

from xserve.core.views import (
    Candidate,
    EngineVerdictView,
    EngineView,
    EventView,
    ModelView,
    PlanView,
    ReloadView,
    StatusView,
    WaitView,
)
from xserve.http.call import Call, Plain
from xserve.http.departure import Departure
from xserve.http.errors import ApiError
from xserve.http.following import stream_events, stream_lines

Count = Annotated[int, Field(ge=0)]


class PlanBody(BaseModel):
    """Files that do not stand in the config directory yet."""

    candidates: list[Candidate] = []


class WaitQuery(BaseModel):
    """What to wait for."""

    model: list[str] = Field([], description="public names; may be repeated; none: every deployment")
    generation: str | None = Field(None, description="hash that must be in force; none: whatever is wanted")
    timeout: Annotated[float, Field(ge=0, le=86400)] = Field(600.0, description="seconds")


class EventsQuery(BaseModel):
    """Which events."""

    after: Count = Field(0, description="only those with a greater id")
    follow: bool = Field(False, description="stay and send coming ones as server-sent events")


class LogQuery(BaseModel):
    """Which lines of which log."""

    lines: Annotated[int, Field(ge=0, le=100_000)] = Field(100, description="how many of the last ones")
    instance: str | None = Field(None, description="none: the newest one")
    follow: bool = Field(False, description="stay and send coming ones")


class EnginesQuery(BaseModel):
    """Whose engines."""

    model: str | None = Field(None, description="name of a registration; none: the engines by themselves")
    type: str | None = Field(None, description="its model type, where two have a registration of that name")


class EnginesView(BaseModel):
    """The engines of this machine, and what each says to the sets of weights of the model asked about."""

    engines: list[EngineView]
    verdicts: list[EngineVerdictView]


class EventsView(BaseModel):
    """Events, oldest first."""

    events: list[EventView]


async def status(call: Plain) -> StatusView:
    """Everything at a glance."""
    return call.control.status()


async def model(call: Plain) -> ModelView:
    """One deployment, by public name or alias. Raises ApiError 404."""
    name = call.part("uid")
    found = call.control.model(name)
    if found is None:
        raise call.parts.traffic.unknown(name)
    return found


async def reload(call: Plain) -> ReloadView:
    """Read all files now; the outcome."""
    return await call.control.reload()


async def plan(call: Call[PlanBody, None]) -> PlanView:
    """What would be done if the candidates stood in the config directory."""
    return await call.control.plan(call.body.candidates)


async def wait(call: Call[None, WaitQuery]) -> WaitView:
    """Until all is as wanted, cannot be, or the time is up; ends early when the client leaves."""
    asked = call.query
    with Departure(call.request.receive, call.request.scope):
        return await call.control.wait(asked.model, asked.generation, asked.timeout)


async def events(call: Call[None, EventsQuery]) -> EventsView | Response:
    """Kept events; or those and all coming ones as a stream, from where `Last-Event-ID` says."""
    after = max(call.query.after, _last_seen(call))
    if call.query.follow:
        return stream_events(call.control.follow_events(after))
    return EventsView(events=call.control.events(after))


async def log(call: Call[None, LogQuery]) -> Response:
    """The last lines of a replica's log as text; or those and all coming ones."""
    asked = call.query
    found = call.control.model(call.part("uid"))
    uid = found.uid if found else call.part("uid")  # what is gone may have left a log
    kept = call.control.log(uid, asked.instance, asked.lines)
    if asked.follow:
        return stream_lines(call.control.follow_log(uid, kept.instance, asked.lines))
    return PlainTextResponse("".join(f"{line}\n" for line in kept.lines))


async def engines(call: Call[None, EnginesQuery]) -> EnginesView:
    """Every engine; with `model` also which of them can serve it. Raises ApiError 404 for no such registration."""
    asked = call.query
    # In a thread: it looks at the weights, which may lie on a slow disk.
    found = await asyncio.to_thread(call.control.verdicts, asked.model, asked.type) if asked.model is not None else []
    if found is None:
        raise ApiError(404, f"No definition is called {asked.model!r}.", code="model_not_found", param="model")
    return EnginesView(engines=call.control.engines(), verdicts=found)


def _last_seen(call: Call[None, EventsQuery]) -> int:
    """The id that a client comes back with after its stream broke off."""
    header = call.request.headers.get("last-event-id", "")
    return int(header) if header.isdecimal() and len(header) < 20 else 0

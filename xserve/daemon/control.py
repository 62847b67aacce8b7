"""The daemon as the API sees it: `http.control.Control` over the loop, the world and the runtime."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from xserve import __version__
from xserve.core.desired import Deployment, Registration
from xserve.core.forecast import forecast
from xserve.core.problems import Problem, has_errors
from xserve.core.refused import Kind, Refused
from xserve.core.status import Gauges, action_views, model_views, problem_view, settled, waiting_views
from xserve.core.text import counted
from xserve.core.views import (
    Candidate,
    EngineVerdictView,
    EngineView,
    LogView,
    ModelView,
    PlanView,
    ReloadView,
    StatusView,
    WaitView,
)
from xserve.daemon.changes import Changes
from xserve.daemon.loop import Loop, Parts
from xserve.daemon.trials import Trials
from xserve.daemon.waiting import Shown, wait_for
from xserve.daemon.world import Sight, World
from xserve.files.layers import Layers
from xserve.runtime.logs import follow, tail

_STUCK_SECONDS = 5.0  # the loop's heartbeat may be late by so much before /livez says so
_LOG_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else the answers need."""

    watching: Callable[[], str]  # how changes of files are noticed, in words
    accepting: Callable[[], bool]
    heartbeat: Callable[[], float]  # monotonic seconds of the loop's last turn
    look: Callable[[bool], Awaitable[bool]]  # a look at the files now (True: reload); whether they changed
    peek: Callable[[Sequence[Candidate]], Awaitable[Sight]]  # what a look would find with candidates in place
    allow_env: Collection[str]  # environment variables that launches over the API may set


class DaemonControl:
    """Implements `http.control.Control`; see there."""

    def __init__(self, parts: Parts, loop: Loop, world: World, trials: Trials, around: Surroundings) -> None:
        self._parts = parts
        self._loop = loop
        self._world = world
        self._trials = trials
        self._around = around
        self._started = parts.clock()
        self._gauges = Gauges(parts.traffic.in_flight, parts.runtime.log)
        self._changes = Changes(world, loop, trials, self._refresh, around.allow_env)
        self.register = self._changes.register
        self.unregister = self._changes.unregister
        self.launch = self._changes.launch
        self.terminate = self._changes.terminate
        self.events = parts.events.after
        self.follow_events = parts.events.follow

    # --- questions -----------------------------------------------------------------------------------------

    def turning(self) -> bool:
        return self._parts.clock() - self._around.heartbeat() < _STUCK_SECONDS

    def accepting(self) -> bool:
        return self._around.accepting()

    def status(self) -> StatusView:
        problems = self._world.sight.problems
        quiet = settled(self._loop.desired, self._loop.observed(), self._loop.explanations)
        return StatusView(
            version=__version__,
            pid=os.getpid(),
            uptime=round(self._parts.clock() - self._started, 3),
            config=_places(self._world.layers),
            watching=self._around.watching(),
            settled=quiet and not self._world.sight.pending and not has_errors(problems),
            passes=self._loop.passes,
            registrations=len(self._world.sight.registrations),
            models=self._models(),
            problems=[problem_view(problem) for problem in problems],
            notes=_notes(problems),
        )

    def model(self, name: str) -> ModelView | None:
        target = self._parts.traffic.resolve(name)
        uid = target.uid if target else name
        return next((view for view in self._models() if view.uid == uid), None)

    def deployment(self, name: str) -> Deployment | None:
        target = self._parts.traffic.resolve(name)
        return self._loop.desired.deployments.get(target.uid if target else name)

    def registrations(self, model_type: str) -> list[Registration]:
        found = self._world.sight.registrations
        return [each for (kind, _), each in found.items() if kind == model_type]

    def registration(self, model_type: str, name: str) -> Registration | None:
        return self._world.sight.registrations.get((model_type, name))

    def engines(self) -> list[EngineView]:
        return [
            EngineView(
                name=each.manifest.name,
                title=each.manifest.title,
                description=each.manifest.description,
                installed=each.installed,
                readiness=each.readiness,
                backend=each.backend or "",
                reason=each.missing,
                serves=[row.model_dump(mode="json") for row in each.manifest.serves],
                folder=each.folder,
            )
            for each in self._world.engines
        ]

    def verdicts(self, model: str, model_type: str | None) -> list[EngineVerdictView] | None:
        found = [
            each
            for (kind, name), each in self._world.sight.registrations.items()
            if name == model and model_type in (None, kind)
        ]
        if not found:
            return None
        return [
            EngineVerdictView(
                engine=each.engine,
                format=each.format,
                size=each.size,
                quantization=each.quantization,
                able=each.able,
                taken=each.taken,
                reason=each.reason,
            )
            for registration in found
            for each in self._world.verdicts(registration)
        ]

    def log(self, uid: str, instance: str | None, lines: int) -> LogView:
        key = self._instance(uid, instance)
        path = self._parts.runtime.log(key)
        return LogView(model=uid, instance=key, path=path, lines=tail(path, lines, _LOG_BYTES))

    async def follow_log(self, uid: str, instance: str | None, lines: int) -> AsyncIterator[str]:
        key = self._instance(uid, instance)
        path = self._parts.runtime.log(key)
        for line in tail(path, lines, _LOG_BYTES):
            yield line
        ended = asyncio.Event()
        watcher = asyncio.create_task(self._set_when_gone(key, ended))
        try:
            async for line in follow(path, from_end=True, ended=ended):
                yield line
        finally:
            watcher.cancel()

    async def _set_when_gone(self, key: str, ended: asyncio.Event) -> None:
        """Sets `ended` when the instance is gone or the daemon leaves."""
        while key in self._loop.observed().instances and self._around.accepting():
            await self._loop.changed()
        ended.set()

    # --- requests ------------------------------------------------------------------------------------------

    async def reload(self) -> ReloadView:
        forgiven = self._loop.forgive()
        if forgiven:
            self._parts.events.add("daemon", f"reload: failures of {', '.join(forgiven)} are forgotten")
        before = self._parts.events.last
        changed = await self._around.look(True)
        rows = [event.data for event in self._parts.events.after(before) if event.kind == "action"]
        return ReloadView.model_validate(
            {
                "changed": changed,
                "actions": rows,
                "problems": [problem_view(problem) for problem in self._world.sight.problems],
                "waiting": waiting_views(self._loop.explanations),
            }
        )

    async def plan(self, candidates: Sequence[Candidate]) -> PlanView:
        sight = await self._around.peek(candidates)
        parts = self._parts
        coming = forecast(sight.desired, self._loop.observed(), parts.clock(), parts.place, parts.policy)
        return PlanView(
            actions=action_views(coming.actions),
            waiting=waiting_views(coming.explanations),
            problems=[problem_view(problem) for problem in sight.problems],
        )

    async def wait(self, names: Sequence[str], generation: str | None, timeout: float) -> WaitView:
        await self._refresh()
        return await wait_for(self._shown, self._loop.changed, names, generation, timeout)

    def close(self) -> None:
        """The daemon leaves: launches are no longer watched."""
        self._changes.close()

    # --- inside --------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        await self._around.look(False)

    def _shown(self) -> Shown:
        sight = self._world.sight
        return Shown(self._models(), [problem_view(problem) for problem in sight.problems], sight.pending)

    def _models(self) -> list[ModelView]:
        loop, now = self._loop, self._parts.clock()
        views = [
            view.model_copy(update={"failures": loop.failures.get(view.uid, 0)})
            for view in model_views(loop.desired, loop.observed(), loop.explanations, now, self._gauges)
        ]
        present = {view.uid for view in views}
        lost = [failed.view(now) for failed in self._trials.failed() if failed.uid not in present]
        return sorted([*views, *lost], key=lambda view: view.uid)

    def _instance(self, uid: str, instance: str | None) -> str:
        target = self._parts.traffic.resolve(uid)
        known = self._loop.history(target.uid if target else uid)
        if not known:
            raise Refused(Kind.UNKNOWN, f"nothing has run under the name {uid!r} yet, so there is no log")
        if instance is None:
            return known[0]
        if instance not in known:
            raise Refused(Kind.UNKNOWN, f"{uid!r} has no instance {instance!r}; the latest are {', '.join(known)}")
        return instance


def _places(layers: Layers) -> dict[str, str]:
    definitions, deploy = layers.drop_here()
    return {
        "definitions": definitions,
        "deploy": deploy,
        "settings": str(layers.settings),
        "state": str(layers.state),
        "runtime": str(layers.run),
    }


def _notes(problems: Sequence[Problem]) -> list[str]:
    rejected = sum(1 for problem in problems if problem.severity == "error")
    return [f"{counted(rejected, 'problem')} in files; what was accepted before stays in force"] if rejected else []

"""What the API changes: it writes a file into a layer of its own and lets the loop follow.

Nothing here starts or stops a model. A definition or a deployment that came in this way is a file like any
other from then on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from xserve.core.deploy import entries_of
from xserve.core.desired import Order, Registration, Waiting
from xserve.core.judge import Verdict, judge
from xserve.core.modeltypes import MODEL_TYPES
from xserve.core.problems import Severity
from xserve.core.refused import Kind, Refused
from xserve.core.resolve import find_registration
from xserve.daemon.loop import Loop
from xserve.daemon.tasks import Tasks
from xserve.daemon.trials import FailedLaunch, Trials
from xserve.daemon.world import World
from xserve.files.syntax import SyntaxFault, parse

Refresh = Callable[[], Awaitable[None]]


class Changes:
    """Register, unregister, launch, terminate."""

    def __init__(self, world: World, loop: Loop, trials: Trials, refresh: Refresh, allow_env: Collection[str]) -> None:
        self._world = world
        self._loop = loop
        self._trials = trials
        self._refresh = refresh
        self._allow_env = allow_env
        self._registering = asyncio.Lock()
        self._tasks = Tasks()

    async def register(self, model_type: str, text: str, *, persist: bool) -> None:
        """See `http.control.Control.register`."""
        if model_type not in MODEL_TYPES:
            raise Refused(Kind.INVALID, f"Unsupported model type: {model_type}", "model_type")
        # What was sent is kept as it was sent; only the type is added, so that nobody has to infer it again.
        content = {**_parsed(text), "model_type": model_type}
        value = _value(judge("model", content))
        async with self._registering:  # of two that come at once the second one finds the name taken
            await self._register(value, content, persist)

    async def _register(self, value: dict[str, Any], content: dict[str, Any], persist: bool) -> None:
        model_type, name = value["model_type"], value["model_name"]
        existing = self._world.sight.registrations.get((model_type, name))
        if existing is not None:
            raise Refused(Kind.EXISTS, f"Model {name} already registered{_owner(existing)}", "model")
        trouble = await asyncio.to_thread(self._world.definition_trouble, value)
        if trouble:
            raise Refused(Kind.INVALID, f"Invalid model {name}: {trouble}", "model")
        await asyncio.to_thread(self._world.write_definition, model_type, name, content, persist=persist)
        await self._refresh()

    async def unregister(self, model_type: str, name: str) -> None:
        """See `http.control.Control.unregister`."""
        if model_type not in MODEL_TYPES:
            raise Refused(Kind.INVALID, f"Unsupported model type: {model_type}", "model_type")
        existing = self._world.sight.registrations.get((model_type, name))
        if existing is None or existing.layer == "builtin":
            return
        if existing.layer == "admin":
            raise Refused(Kind.OWNED, f"{name} is owned by the file {existing.path}; remove it there")
        await asyncio.to_thread(self._world.remove, existing.path)
        await self._refresh()

    async def launch(self, uid: str | None, entry: dict[str, Any], *, persist: bool, wait_ready: bool) -> str:
        """See `http.control.Control.launch`."""
        uid = self._free_name(uid, str(entry["model"]))
        order = _ordered(uid, entry)
        self._refuse_environment(order)
        self._trials.begin(uid)  # nobody else gets the name from here on
        # A client that goes away does not cancel the launch, at whatever step it is.
        trial = await self._tasks.finish(self._begin(order, entry, persist), f"begin of {uid}")
        if wait_ready:
            await asyncio.shield(trial)
        return uid

    async def _begin(self, order: Order, entry: dict[str, Any], persist: bool) -> asyncio.Task[None]:
        """Write the entry, and watch what becomes of it. Raises Refused."""
        try:
            await asyncio.to_thread(self._refuse_hopeless, order)
            await asyncio.to_thread(self._world.write_entry, order.uid, entry, persist=persist)
            await self._refresh()
        except BaseException:
            self._trials.end(order.uid)
            raise
        return self._tasks.keep(self._try(order.uid), f"launch of {order.uid}")

    async def terminate(self, uid: str) -> None:
        """See `http.control.Control.terminate`."""
        order = self._world.sight.orders.get(uid)
        if order is None:
            raise Refused(Kind.UNKNOWN, f"Model not found in the model list, uid: {uid}")
        if order.layer == "admin":
            raise Refused(Kind.OWNED, f"{uid} is owned by the file {order.path}; remove it there")
        await asyncio.to_thread(self._world.remove, order.path)
        await self._refresh()

    def _free_name(self, uid: str | None, model: str) -> str:
        taken = self._world.sight.orders
        if uid is not None:
            if uid in taken or self._trials.running(uid):
                where = f", by the file {taken[uid].path}" if uid in taken and taken[uid].layer == "admin" else ""
                raise Refused(Kind.EXISTS, f"Model is already in the model list, uid: {uid}{where}", "model_uid")
            return uid
        return f"{model}-{secrets.token_hex(4)}" if model in taken or self._trials.running(model) else model

    def _refuse_environment(self, order: Order) -> None:
        """Whoever may call must not thereby run code as the daemon's user, as LD_PRELOAD would let them."""
        for name in order.entry.env:
            if name not in self._allow_env:
                message = (
                    f"a launch may not set the environment variable {name}; "
                    "a deploy file may, or allow_env in xserve.yaml can name it"
                )
                raise Refused(Kind.INVALID, message, "envs")

    def _refuse_hopeless(self, order: Order) -> None:
        """A launch that would only wait for a person is refused at once. Looks at the weights: for a thread."""
        found = find_registration(order, self._world.sight.registrations)
        if isinstance(found, Waiting):
            raise Refused(Kind.INVALID, f"Model not found, name: {order.entry.model}: {found.sentence}", "model_name")
        outcome = self._world.resolve_one(order)
        if isinstance(outcome, Waiting) and outcome.needs is not None:
            self._world.environments.forgive(outcome.needs)  # whoever launches again may have mended something
        elif isinstance(outcome, Waiting):
            raise Refused(Kind.INVALID, f"Model {found.name} cannot be launched: {outcome.sentence}")

    async def _try(self, uid: str) -> None:
        """Watch a launch to its end; a failed one is taken back."""
        try:
            verdict = await self._verdict(uid)
            if isinstance(verdict, FailedLaunch):
                await self._take_back(uid, verdict)
                raise verdict.refusal()
        finally:
            self._trials.end(uid)

    async def _verdict(self, uid: str) -> FailedLaunch | bool:
        while True:
            if uid not in self._world.sight.orders:
                raise Refused(Kind.CANCELLED, f"the launch of {uid} was cancelled")
            verdict = self._trials.verdict(uid, self._loop.desired, self._loop.observed())
            if verdict is not False:
                return verdict
            await self._loop.changed()

    async def _take_back(self, uid: str, failed: FailedLaunch) -> None:
        order = self._world.sight.orders.get(uid)
        if order is not None and order.layer != "admin":
            await asyncio.to_thread(self._world.remove, order.path)
            await self._refresh()
        self._trials.fail(failed)

    def close(self) -> None:
        """Stop watching launches; their entries stay, as ordinary deployments."""
        self._tasks.close()


def _parsed(text: str) -> dict[str, Any]:
    """The definition in a request, as it was written. Raises Refused with its line and column."""
    try:
        document = parse(text.encode())
    except SyntaxFault as fault:
        raise Refused(
            Kind.INVALID, f"model, line {fault.line}, column {fault.column}: {fault.message}", "model"
        ) from fault
    if not isinstance(document.data, dict):
        raise Refused(Kind.INVALID, "model must be a JSON object, written as a string", "model")
    return document.data


def _ordered(uid: str, entry: dict[str, Any]) -> Order:
    value = _value(judge("deploy", {"version": 1, "models": {uid: entry}}))
    return Order(uid, entries_of(value)[uid], "runtime", "", "")


def _value(verdict: Verdict) -> dict[str, Any]:
    if verdict.value is not None:
        return verdict.value
    faults = [fault for fault in verdict.faults if fault.severity is Severity.ERROR]
    lines = [f"{'.'.join(map(str, fault.path)) or verdict.kind}: {fault.message}" for fault in faults]
    raise Refused(Kind.INVALID, "; ".join(lines), str(faults[0].path[-1]) if faults[0].path else None)


def _owner(existing: Registration) -> str:
    return f", by the file {existing.path}" if existing.layer == "admin" else ""

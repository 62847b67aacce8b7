"""Small worlds for the reconciler: builders with every irrelevant thing filled in."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from xserve.core.actions import Action, Drain, Plan, Publish, Start, Stop, Withdraw
from xserve.core.deploy import Entry
from xserve.core.desired import Deployment, Desired, Order, Registration, Waiting
from xserve.core.events import Exit
from xserve.core.exposure import Exposure
from xserve.core.launch import Launch
from xserve.core.lifecycle import Instance, Record, State
from xserve.core.observed import Observed
from xserve.core.ports import Command, Gpu, Placer, Wish
from xserve.core.reasons import Reason
from xserve.core.reconcile import Policy, reconcile
from xserve.placement.first_fit import first_fit

NOW = 1000.0
POLICY = Policy(start_timeout=600.0, drain_timeout=60.0, max_starting=4)
COMMAND = Command(("engine",), (), "/health", None, 10.0)
EXPOSURE = Exposure("LLM")
NO_CARDS = Wish()


def order(uid: str = "chat", **entry: Any) -> Order:
    """A deploy entry as the files would give it."""
    return Order(uid, Entry(**entry), "admin", "deploy.yaml", f"order-of-{uid}")


def deployment(
    uid: str = "chat",
    revision: str = "new",
    replicas: int = 1,
    *,
    wish: Wish = NO_CARDS,
    exposure: Exposure = EXPOSURE,
) -> Deployment:
    """A deployment whose revision is whatever the test calls it."""
    launch = Launch(uid, "fake", "LLM", uid, "ggufv2", "7", "none", "/weights", {})
    registration = Registration("LLM", uid, {}, "admin", f"models.d/{uid}.json", f"definition-of-{uid}")
    return Deployment(
        uid, launch, revision, COMMAND, replicas, wish, exposure, order(uid, replicas=replicas), registration
    )


def waiting(uid: str = "chat", *, keep: bool = True, exposure: Exposure | None = EXPOSURE) -> Waiting:
    """An entry that waits: for its weights, or (not `keep`) for a definition."""
    if keep:
        return Waiting(uid, Reason.NO_WEIGHTS, "its weights are not there yet", order(uid), exposure=exposure)
    return Waiting(uid, Reason.NO_DEFINITION, "no definition is called so", order(uid), keep=False)


def desired(*wanted: Deployment | Waiting) -> Desired:
    """Everything that is wanted."""
    return Desired(
        {each.uid: each for each in wanted if isinstance(each, Deployment)},
        {each.uid: each for each in wanted if isinstance(each, Waiting)},
    )


def instance(
    state: State = State.READY,
    *,
    uid: str = "chat",
    revision: str = "new",
    ordinal: int = 0,
    since: float = NOW,
    gpus: tuple[int, ...] = (),
    number: int = 0,
) -> Instance:
    """A process tree; its id tells what it is."""
    key = f"{uid}-{revision}-{ordinal}-{state}-{number}"
    ready_since = since if state in {State.READY, State.DRAINING, State.DRAINED} else None
    fault = Reason.UNHEALTHY if state is State.UNHEALTHY else None
    sentence = "did not answer" if state is State.UNHEALTHY else ""
    return Instance(
        key,
        uid,
        revision,
        ordinal,
        state,
        since,
        since,
        ready_since=ready_since,
        fault=fault,
        sentence=sentence,
        gpus=gpus,
    )


old = partial(instance, revision="old")
"""A process tree of the revision that was wanted before."""


def failing(uid: str = "chat", revision: str = "new", ordinal: int = 0) -> Instance:
    """A process tree that was told to leave because it failed."""
    leaving = instance(State.STOPPING, uid=uid, revision=revision, ordinal=ordinal)
    return replace(leaving, fault=Reason.START_TIMEOUT, sentence="was not ready within 600 s")


def record(retry_at: float | None, failures: int = 2, reason: Reason = Reason.CRASHED) -> Record:
    """What is remembered of a revision that failed."""
    return Record(failures, reason, "ended by signal 9", NOW - 1, retry_at, False, Exit(None, 9))


def observed(
    *instances: Instance,
    records: dict[tuple[str, str], Record] | None = None,
    published: dict[str, Exposure] | tuple[str, ...] = ("chat",),
    gpus: int = 0,
) -> Observed:
    """A world; `published` names have the exposure that deployments have here."""
    exposures = published if isinstance(published, dict) else dict.fromkeys(published, EXPOSURE)
    cards = tuple(Gpu(index, "card", 24 << 30) for index in range(gpus))
    return Observed({each.id: each for each in instances}, records or {}, exposures, cards)


def decide(
    wanted: Desired, world: Observed, *, now: float = NOW, place: Placer = first_fit, policy: Policy = POLICY
) -> Plan:
    """The plan."""
    return reconcile(wanted, world, now, place, policy)


def starts(plan: Plan) -> list[tuple[str, str, int]]:
    """(name, revision, ordinal) of every start."""
    return [(each.uid, each.revision, each.ordinal) for each in plan.actions if isinstance(each, Start)]


def drains(plan: Plan) -> list[str]:
    """Instances that are to drain."""
    return [each.instance for each in plan.actions if isinstance(each, Drain)]


def stops(plan: Plan) -> list[str]:
    """Instances that are to stop."""
    return [each.instance for each in plan.actions if isinstance(each, Stop)]


def published(plan: Plan) -> list[str]:
    """Names that are to be answered."""
    return [each.uid for each in plan.actions if isinstance(each, Publish)]


def withdrawn(plan: Plan) -> list[str]:
    """Names that are to be forgotten."""
    return [each.uid for each in plan.actions if isinstance(each, Withdraw)]


def reason_of(plan: Plan, kind: type[Action]) -> str:
    """The reason of the only action of a kind."""
    (found,) = [each for each in plan.actions if isinstance(each, kind)]
    return found.reason

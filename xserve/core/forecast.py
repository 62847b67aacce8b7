"""What would happen: the same decisions, played through in a world where everything succeeds at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xserve.core.actions import Action, Drain, Explanation, Publish, Start, Stop, Withdraw
from xserve.core.desired import Desired
from xserve.core.lifecycle import Instance, State
from xserve.core.observed import Observed
from xserve.core.ports import Placer
from xserve.core.reconcile import Policy, reconcile

# A change takes start, drain, stop: a few passes. More means that the decisions do not converge.
_PASSES = 10


@dataclass(frozen=True, slots=True)
class Forecast:
    """The actions in their order, and what would still wait at the end."""

    actions: tuple[Action, ...]
    explanations: dict[str, Explanation]
    settled: bool


def forecast(desired: Desired, observed: Observed, now: float, place: Placer, policy: Policy) -> Forecast:
    """Reconcile again and again under a perfect runtime until nothing is left to do."""
    actions: list[Action] = []
    explanations: dict[str, Explanation] = {}
    # Few replicas load at once: in the longest queue each takes a pass of its own.
    replicas = sum(each.replicas for each in desired.deployments.values())
    for _ in range(_PASSES + replicas + len(observed.instances)):
        plan = reconcile(desired, observed, now, place, policy)
        explanations = dict(plan.explanations)
        if not plan.actions and not _coming(observed):
            return Forecast(tuple(actions), explanations, settled=True)
        actions += plan.actions
        observed = _succeed(observed, plan.actions, now)
    return Forecast(tuple(actions), explanations, settled=False)


def _coming(observed: Observed) -> bool:
    return any(
        each.state in {State.STARTING, State.PROBING, State.DRAINING, State.STOPPING}
        for each in observed.instances.values()
    )


def _succeed(observed: Observed, actions: tuple[Action, ...], now: float) -> Observed:
    """The world after the actions, had each succeeded at once; what was on its way has arrived."""
    instances = {key: arrived for key, each in observed.instances.items() if (arrived := _arrive(each))}
    exposures = dict(observed.exposures)
    for action in actions:
        match action:
            case Publish(uid=uid, exposure=exposure):
                exposures[uid] = exposure
            case Withdraw(uid=uid):
                exposures.pop(uid, None)
            case Drain(instance=key):
                instances[key] = replace(instances[key], state=State.DRAINED)
            case Stop(instance=key):
                instances.pop(key, None)
            case Start():
                fresh = _born(action, len(instances), now)
                instances[fresh.id] = fresh
    return replace(observed, instances=instances, exposures=exposures)


def _arrive(instance: Instance) -> Instance | None:
    match instance.state:
        case State.STOPPING:
            return None
        case State.DRAINING:
            return replace(instance, state=State.DRAINED)
        case State.STARTING | State.PROBING:
            return replace(instance, state=State.READY)
    return instance


def _born(action: Start, number: int, now: float) -> Instance:
    key = f"forecast-{action.uid}-{action.revision}-{action.ordinal}-{number}"
    return Instance(key, action.uid, action.revision, action.ordinal, State.READY, now, now, gpus=action.gpus)

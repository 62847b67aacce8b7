"""Desired x observed -> what people see. Pure; everything here can be derived again at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xserve.core.actions import Action, Explanation, as_row
from xserve.core.desired import Deployment, Desired, Waiting
from xserve.core.lifecycle import Instance, Record, State
from xserve.core.observed import Observed, ready
from xserve.core.problems import Problem
from xserve.core.reasons import Reason
from xserve.core.views import ActionView, FailureView, ModelView, ProblemView, ReplicaView, WaitingView

_TAIL = 20  # lines of an engine's log that a failure shows


@dataclass(frozen=True, slots=True)
class Gauges:
    """What only the edges know of an instance."""

    in_flight: Callable[[str], int]
    log: Callable[[str], str]


def model_views(
    desired: Desired, observed: Observed, explanations: Mapping[str, Explanation], now: float, gauges: Gauges
) -> list[ModelView]:
    """Every deployment that is wanted or still there, by public name."""
    uids = sorted({*desired.deployments, *desired.waiting, *observed.uids()})
    return [_model_view(uid, desired, observed, explanations.get(uid), now, gauges) for uid in uids]


def _model_view(
    uid: str, desired: Desired, observed: Observed, why: Explanation | None, now: float, gauges: Gauges
) -> ModelView:
    wanted = desired.deployments.get(uid)
    order = wanted.order if wanted else desired.waiting[uid].order if uid in desired.waiting else None
    instances = observed.of(uid)
    record = observed.records.get((uid, wanted.revision)) if wanted else None
    state, reason, message = summarise(wanted, desired.waiting.get(uid), instances, why)
    exposure = (wanted.exposure if wanted else None) or observed.exposures.get(uid)
    return ModelView(
        uid=uid,
        state=state,
        reason=reason,
        message=message,
        model=wanted.registration.name if wanted else (order.entry.model or uid) if order else "",
        model_type=exposure.model_type if exposure else "",
        engine=wanted.launch.engine if wanted else "",
        aliases=list(exposure.aliases) if exposure else [],
        request_limit=exposure.request_limit if exposure else None,
        replicas=order.entry.replicas if order else 0,
        ready=len(ready(instances)),
        revision=wanted.revision if wanted else "",
        running=sorted({each.revision for each in ready(instances)}),
        generation=generation(wanted) if wanted else "",
        definition_path=wanted.registration.path if wanted else "",
        deploy_path=order.path if order else "",
        stale=bool(wanted and (wanted.registration.stale or wanted.order.stale)),
        layer=order.layer if order else "",
        instances=[_replica_view(each, now, gauges) for each in instances],
        failure=_failure_view(record, now) if record else None,
    )


def generation(deployment: Deployment) -> str:
    """Hash of what a person wrote for this deployment: definition and entry, as parsed."""
    return f"{deployment.registration.generation[:12]}-{deployment.order.generation[:12]}"


def summarise(
    wanted: Deployment | None, waiting: Waiting | None, instances: list[Instance], why: Explanation | None
) -> tuple[str, str, str]:
    """State, reason and sentence of a deployment."""
    serving = ready(instances)
    if wanted is None and waiting is None:
        return "stopping", Reason.STOPPING, "it is no longer wanted; its replicas are leaving"
    if why is None:
        if wanted is not None and len(serving) >= wanted.replicas:
            return "ready", Reason.READY, _ready_sentence(serving)
        return "starting", Reason.LOADING, "it is about to start"
    return _state_of(why.reason, bool(serving)), why.reason, why.sentence


def _ready_sentence(serving: list[Instance]) -> str:
    count = "1 replica takes" if len(serving) == 1 else f"{len(serving)} replicas take"
    unproved = "" if all(each.probed for each in serving) else " (not probed: its engine declares no probe)"
    return f"{count} requests{unproved}"


_STATES = {
    Reason.SCALED_TO_ZERO: "disabled",
    Reason.PREPARING: "preparing",
    Reason.LOADING: "starting",
    Reason.PROBING: "starting",
    Reason.TURN: "starting",
    Reason.UPDATING: "updating",
    Reason.BACK_OFF: "backoff",
    Reason.NEVER_STARTS: "failed",
    Reason.GAVE_UP: "failed",
}


def _state_of(reason: Reason, serving: bool) -> str:
    state = _STATES.get(reason, "waiting")
    return "updating" if state == "starting" and serving else state


def _replica_view(instance: Instance, now: float, gauges: Gauges) -> ReplicaView:
    return ReplicaView(
        instance=instance.id,
        ordinal=instance.ordinal,
        state=instance.state,
        revision=instance.revision,
        pid=instance.pid,
        since=round(now - instance.since, 3),
        age=round(now - instance.started, 3),
        in_flight=gauges.in_flight(instance.id),
        gpus=list(instance.gpus),
        log=gauges.log(instance.id),
        note=instance.sentence,
    )


def _failure_view(record: Record, now: float) -> FailureView:
    return FailureView(
        reason=record.reason,
        message=record.sentence,
        failures=record.failures,
        seconds_ago=round(now - record.at, 3),
        retry_in=None if record.retry_at is None else round(max(0.0, record.retry_at - now), 3),
        log_tail=list(record.exit.log_tail[-_TAIL:]),
    )


def problem_view(problem: Problem) -> ProblemView:
    """A problem as the API shows it."""
    return ProblemView(
        path=problem.path,
        line=problem.line,
        column=problem.column,
        field=problem.field,
        message=problem.message,
        severity=problem.severity,
        text=str(problem),
    )


def action_views(actions: tuple[Action, ...]) -> list[ActionView]:
    """Actions as the API shows them."""
    return [ActionView.model_validate(as_row(action)) for action in actions]


def waiting_views(explanations: Mapping[str, Explanation]) -> list[WaitingView]:
    """What a plan leaves waiting, by public name. Loading is not waiting."""
    return [
        WaitingView(model=uid, reason=each.reason, message=each.sentence)
        for uid, each in sorted(explanations.items())
        if each.reason not in {Reason.LOADING, Reason.PROBING, Reason.UPDATING}
    ]


def settled(desired: Desired, observed: Observed, explanations: Mapping[str, Explanation]) -> bool:
    """Whether all is as wanted: nothing waits, nothing is under way."""
    moving = any(each.state is not State.READY for each in observed.instances.values())
    waiting = any(each.reason is not Reason.SCALED_TO_ZERO for each in explanations.values())
    return not moving and not waiting

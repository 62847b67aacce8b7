"""The one place that decides: desired x observed x now -> what to do, and why the rest is not done.

The rules, by number; the functions below carry the numbers.

 1. A name that is published but no longer wanted is withdrawn; its ready instances drain, the others stop.
    An entry that waits keeps what it has, unless its definition is gone.
 2. A wanted deployment is published; again, when its names or limits changed. That restarts nothing. One that
    waits is published too, once its definition is known, so that clients are told why.
 3. For each replica that has no live instance of the wanted revision, one is started, unless
    a. its revision failed for good, or rests until its next try;
    b. as many replicas load already as may load at once;
    c. no card fits its wish;
    d. its last instance failed and has not left yet: how long to rest is known when it has.
 4. Spare are the instances of another revision, and those of the wanted one beyond the number of replicas. A spare
    one that is not ready stops at once.
 5. New before old: spare instances serve on until as many wanted ones are ready; then those that are too many drain.
 6. A draining instance stops when its last request ended, or at its deadline.
 7. An instance that loads for too long stops and counts as failed; an unhealthy one stops without grace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from xserve.core.actions import Action, Drain, Explanation, Plan, Publish, Start, Stop, Withdraw
from xserve.core.desired import Deployment, Desired, Waiting
from xserve.core.exposure import Exposure
from xserve.core.lifecycle import COMING, LIVE, Instance, State
from xserve.core.observed import Observed, ready
from xserve.core.ports import Grant, Placer, Wish
from xserve.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers that the rules need; seconds."""

    start_timeout: float = 600.0
    drain_timeout: float = 60.0
    max_starting: int = 4


@dataclass
class _Draft:
    """A plan in the making."""

    desired: Desired
    observed: Observed
    now: float
    place: Placer
    policy: Policy
    starting: int
    taken: list[int]
    actions: list[Action] = field(default_factory=list)
    explanations: dict[str, Explanation] = field(default_factory=dict)
    wakes: list[float] = field(default_factory=list)

    def explain(self, uid: str, reason: Reason, sentence: str) -> None:
        """The first explanation of a deployment stands."""
        self.explanations.setdefault(uid, Explanation(reason, sentence))


def reconcile(desired: Desired, observed: Observed, now: float, place: Placer, policy: Policy) -> Plan:
    """What to do now. Does nothing itself; the same input gives the same plan."""
    starting = sum(1 for each in observed.instances.values() if each.state in COMING)
    draft = _Draft(desired, observed, now, place, policy, starting, observed.taken())
    for uid in sorted(observed.uids()):
        if uid not in desired.deployments and not _kept(desired.waiting.get(uid)):
            _retire(draft, uid)
    for uid, waiting in sorted(desired.waiting.items()):
        draft.explain(uid, waiting.reason, waiting.sentence)
        if waiting.exposure is not None:
            _publish(draft, uid, _as_it_runs(waiting.exposure, observed.exposures.get(uid)), waiting.order.path)
    for uid, deployment in sorted(desired.deployments.items()):
        _publish(draft, uid, deployment.exposure, deployment.order.path)
        _fill(draft, deployment)
        _release_spare(draft, deployment)
    for _, instance in sorted(observed.instances.items()):
        _watch(draft, instance)
    wake_at = min(draft.wakes, default=None)
    return Plan(tuple(draft.actions), draft.explanations, wake_at)


def _kept(waiting: Waiting | None) -> bool:
    return waiting is not None and waiting.keep


def _retire(draft: _Draft, uid: str) -> None:
    """Rule 1."""
    waiting = draft.desired.waiting.get(uid)
    reason = waiting.sentence if waiting else "no deploy entry names it any more"
    if uid in draft.observed.exposures:
        draft.actions.append(Withdraw(uid, reason))
    for instance in draft.observed.of(uid):
        _let_go(draft, instance, reason)


def _let_go(draft: _Draft, instance: Instance, reason: str) -> None:
    """An instance that is not wanted: drains if requests may be in flight, else stops."""
    if instance.state is State.READY:
        draft.actions.append(Drain(instance.uid, instance.id, reason))
    elif instance.state in COMING:
        draft.actions.append(Stop(instance.uid, instance.id, reason))


def _publish(draft: _Draft, uid: str, exposure: Exposure, path: str) -> None:
    """Rule 2."""
    before = draft.observed.exposures.get(uid)
    if before == exposure:
        return
    reason = f"{path} names it" if before is None else "changed: " + ", ".join(exposure.differences(before))
    draft.actions.append(Publish(uid, exposure, reason))


def _as_it_runs(exposure: Exposure, before: Exposure | None) -> Exposure:
    """Names and limits of an entry that waits; what runs keeps the request defaults that it was started with."""
    return exposure if before is None else replace(exposure, request_defaults=before.request_defaults)


def _is_wanted(deployment: Deployment, instance: Instance) -> bool:
    return instance.revision == deployment.revision and instance.ordinal < deployment.replicas


def _failed(instance: Instance) -> bool:
    """Whether it counts as failed, though its tree is still there."""
    return instance.state is State.UNHEALTHY or (instance.state is State.STOPPING and instance.fault is not None)


def _fill(draft: _Draft, deployment: Deployment) -> None:
    """Rule 3."""
    wanted = [each for each in draft.observed.of(deployment.uid) if _is_wanted(deployment, each)]
    present = {each.ordinal for each in wanted if each.state in LIVE}
    failed = {each.ordinal: each for each in wanted if _failed(each)}
    for ordinal in sorted(set(range(deployment.replicas)) - present):
        if ordinal in failed:
            sentence = f"replica {ordinal} failed and has not left yet: {failed[ordinal].sentence}"
            draft.explain(deployment.uid, Reason.BACK_OFF, sentence)
        else:
            _start(draft, deployment, ordinal)
    if deployment.replicas == 0:
        draft.explain(deployment.uid, Reason.SCALED_TO_ZERO, "replicas is 0")


def _start(draft: _Draft, deployment: Deployment, ordinal: int) -> None:
    if _rests(draft, deployment):
        return
    uid = deployment.uid
    if draft.starting >= draft.policy.max_starting:
        draft.explain(uid, Reason.TURN, f"{draft.starting} replicas load already; it is next when one is done")
        return
    answer = draft.place(_share(deployment, ordinal), draft.observed.gpus, draft.taken)
    if not isinstance(answer, Grant):
        draft.explain(uid, Reason.NO_GPU, answer.sentence)
        return
    draft.starting += 1
    draft.taken.extend(answer.gpus)
    reason = _start_reason(draft, deployment, ordinal)
    draft.actions.append(Start(uid, deployment.revision, ordinal, answer.gpus, reason))


def _rests(draft: _Draft, deployment: Deployment) -> bool:
    """Rule 3a."""
    record = draft.observed.records.get((deployment.uid, deployment.revision))
    if record is None:
        return False
    if record.retry_at is None:
        draft.explain(deployment.uid, record.reason, record.sentence)
        return True
    if record.retry_at <= draft.now:
        return False
    pause = record.retry_at - draft.now
    sentence = f"{record.sentence}; tried {record.failures} times, next try in {pause:.1f} s"
    draft.explain(deployment.uid, Reason.BACK_OFF, sentence)
    draft.wakes.append(record.retry_at)
    return True


def _share(deployment: Deployment, ordinal: int) -> Wish:
    """Cards named by index are divided evenly over the replicas."""
    indices = deployment.wish.indices
    if not indices:
        return deployment.wish
    each = max(1, len(indices) // max(1, deployment.replicas))
    mine = indices[ordinal * each : (ordinal + 1) * each]
    return Wish(len(mine), mine)


def _start_reason(draft: _Draft, deployment: Deployment, ordinal: int) -> str:
    record = draft.observed.records.get((deployment.uid, deployment.revision))
    if record is not None:
        return f"try {record.failures + 1}: {record.sentence}"
    others = [each for each in draft.observed.of(deployment.uid) if each.state in LIVE]
    if any(each.revision != deployment.revision for each in others):
        return f"replica {ordinal} changes to revision {deployment.revision}; the old one serves until it is ready"
    return f"replica {ordinal} of {deployment.replicas} is not running"


def _release_spare(draft: _Draft, deployment: Deployment) -> None:
    """Rules 4 and 5. Among the spare ones, those of another revision go first, the oldest of them first."""
    mine = draft.observed.of(deployment.uid)
    spare = [each for each in mine if not _is_wanted(deployment, each)]
    spare.sort(key=lambda each: each.revision == deployment.revision)
    serving, arrived = ready(spare), len(ready(mine)) - len(ready(spare))
    missing = max(0, deployment.replicas - arrived)
    for instance in spare:
        if instance.state in COMING or instance in serving[: max(0, len(serving) - missing)]:
            _let_go(draft, instance, _spare_reason(deployment, instance, arrived))
    if missing and any(each.revision != deployment.revision for each in serving):
        _explain_update(draft, deployment)


def _spare_reason(deployment: Deployment, instance: Instance, arrived: int) -> str:
    if instance.revision == deployment.revision or not deployment.replicas:
        return f"replicas is {deployment.replicas}"
    if instance.state in COMING:
        return f"revision {deployment.revision} replaces it before it was ready"
    return f"revision {deployment.revision} is ready in its place" if arrived else f"replicas is {deployment.replicas}"


def _explain_update(draft: _Draft, deployment: Deployment) -> None:
    found = draft.explanations.get(deployment.uid)
    if found is not None:
        better = f"{found.sentence}; the previous revision serves on"
        draft.explanations[deployment.uid] = replace(found, sentence=better)
    else:
        sentence = f"revision {deployment.revision} is loading; the previous one serves until it is ready"
        draft.explain(deployment.uid, Reason.UPDATING, sentence)


def _watch(draft: _Draft, instance: Instance) -> None:
    """Rules 6 and 7: what time and health ask of one instance."""
    draft.actions.extend(_due(draft, instance))
    if instance.state in COMING:
        deployment = draft.desired.deployments.get(instance.uid)
        if deployment is not None and _is_wanted(deployment, instance):
            reason = Reason.LOADING if instance.state is State.STARTING else Reason.PROBING
            word = "loads its weights" if reason is Reason.LOADING else "is asked a first question"
            draft.explain(instance.uid, reason, f"replica {instance.ordinal} {word}")


def _due(draft: _Draft, instance: Instance) -> Iterator[Action]:
    uid, policy = instance.uid, draft.policy
    if instance.state is State.UNHEALTHY:
        yield Stop(uid, instance.id, instance.sentence, Reason.UNHEALTHY, now=True)
    elif instance.state is State.DRAINED:
        yield Stop(uid, instance.id, "its last request ended")
    elif instance.state is State.DRAINING:
        yield from _at(draft, instance.since + policy.drain_timeout, Stop(
            uid, instance.id, f"requests were still in flight after {policy.drain_timeout:g} s"))  # fmt: skip
    elif instance.state is State.STARTING and not _stopped_already(draft, instance):
        sentence = f"was not ready within {policy.start_timeout:g} s"
        yield from _at(
            draft,
            instance.since + policy.start_timeout,
            Stop(uid, instance.id, sentence, Reason.START_TIMEOUT),
        )


def _at(draft: _Draft, due: float, action: Action) -> Iterator[Action]:
    """The action if it is due, else a wake-up for it."""
    if due <= draft.now:
        yield action
    else:
        draft.wakes.append(due)


def _stopped_already(draft: _Draft, instance: Instance) -> bool:
    return any(isinstance(action, Stop) and action.instance == instance.id for action in draft.actions)

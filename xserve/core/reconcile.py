"""The one place that decides: desired x observed x now -> what to do, and why the rest is not done.

The rules, by number; the functions below carry the numbers.

 1. A name that is published but no longer wanted is withdrawn; its ready instances drain, the others stop.
    An entry that waits keeps what it has, unless its definition is gone.
 2. A wanted deployment is published; again, when its names or limits changed. That restarts nothing. One that
    waits is published too, once its definition is known, so that clients are told why.
 3. For each replica that has no live instance of the wanted revision, one is started, unless
    a. its revision failed for good, or rests until its next try;
    b. as many replicas load already as may load at once;
    c. no card fits its wish.
 4. An instance of the wanted revision beyond the number of replicas drains.
 5. New before old: instances of another revision serve on until as many of the wanted one are ready; then the
    ones that are too many drain. One that is not ready itself stops at once.
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
    for uid in observed.uids():
        if uid not in desired.deployments and not _kept(desired.waiting.get(uid)):
            _retire(draft, uid)
    for uid, waiting in desired.waiting.items():
        draft.explain(uid, waiting.reason, waiting.sentence)
        if waiting.exposure is not None and uid not in observed.exposures:
            _publish(draft, uid, waiting.exposure, waiting.order.path)
    for deployment in desired.deployments.values():
        _publish(draft, deployment.uid, deployment.exposure, deployment.order.path)
        _fill(draft, deployment)
        _trim(draft, deployment)
        _replace_old(draft, deployment)
    for instance in observed.instances.values():
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


def _current(draft: _Draft, deployment: Deployment) -> list[Instance]:
    """Live instances of the wanted revision."""
    mine = draft.observed.of(deployment.uid)
    return [each for each in mine if each.revision == deployment.revision and each.state in LIVE]


def _fill(draft: _Draft, deployment: Deployment) -> None:
    """Rule 3."""
    present = {each.ordinal for each in _current(draft, deployment)}
    for ordinal in range(deployment.replicas):
        if ordinal not in present:
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


def _trim(draft: _Draft, deployment: Deployment) -> None:
    """Rule 4."""
    for instance in _current(draft, deployment):
        if instance.ordinal >= deployment.replicas:
            _let_go(draft, instance, f"replicas is {deployment.replicas}")


def _replace_old(draft: _Draft, deployment: Deployment) -> None:
    """Rule 5."""
    current = _current(draft, deployment)
    old = [each for each in draft.observed.of(deployment.uid) if each.revision != deployment.revision]
    for instance in old:
        if instance.state in COMING:
            _let_go(draft, instance, f"revision {deployment.revision} replaces it before it was ready")
    serving = ready(old)
    needed = max(0, deployment.replicas - len(ready(current)))
    for instance in serving[: len(serving) - needed] if needed else serving:
        _let_go(draft, instance, f"revision {deployment.revision} is ready in its place")
    if len(ready(current)) < deployment.replicas and serving:
        _explain_update(draft, deployment, current)


def _explain_update(draft: _Draft, deployment: Deployment, current: list[Instance]) -> None:
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
        if deployment is not None and deployment.revision == instance.revision:
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

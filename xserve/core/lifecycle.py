"""The life of one instance (one process tree of a replica), as a table; and the arithmetic of back-off.

Everything that changes an instance's state is in this file. An event that the table does not know in the
present state changes nothing: timers and reports may arrive late.

    STARTING --Loaded--> PROBING --Answered--> READY --drain--> DRAINING --Drained--> DRAINED
        any state --stop--> STOPPING           any state before STOPPING --Unhealthy--> UNHEALTHY
        any state --Exited--> (gone)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from xserve.core.events import Answered, Drained, Event, Exit, Exited, Loaded, Spawned, Unhealthy
from xserve.core.reasons import Reason
from xserve.core.settings import Restart


class State(StrEnum):
    """Where an instance is in its life."""

    STARTING = "starting"  # intent written; the process loads its weights
    PROBING = "probing"  # weights loaded; the tiny real request is under way
    READY = "ready"  # answered it: takes requests
    DRAINING = "draining"  # takes no new requests; some are in flight
    DRAINED = "drained"  # the last one ended
    UNHEALTHY = "unhealthy"  # stopped answering; takes no requests
    STOPPING = "stopping"  # told to leave


COMING = frozenset({State.STARTING, State.PROBING})
LIVE = COMING | {State.READY}
GOING = frozenset({State.DRAINING, State.DRAINED, State.UNHEALTHY, State.STOPPING})


@dataclass(frozen=True, slots=True)
class Instance:
    """One process tree. Times are seconds on the loop's monotonic clock."""

    id: str
    uid: str
    revision: str  # digest of the launch
    ordinal: int  # which replica of the deployment, from 0
    state: State
    since: float  # when it entered this state
    started: float
    pid: int | None = None
    ready_since: float | None = None
    probed: bool = True  # False: called ready without a probe, as its engine has none
    fault: Reason | None = None  # why it is to be counted as failed, though we stopped it
    sentence: str = ""
    gpus: tuple[int, ...] = ()


_TABLE: dict[tuple[State, type], State] = {
    (State.STARTING, Loaded): State.PROBING,
    (State.STARTING, Answered): State.READY,  # an engine without a health path of its own
    (State.PROBING, Answered): State.READY,
    (State.DRAINING, Drained): State.DRAINED,
    (State.STARTING, Unhealthy): State.UNHEALTHY,
    (State.PROBING, Unhealthy): State.UNHEALTHY,
    (State.READY, Unhealthy): State.UNHEALTHY,
    (State.DRAINING, Unhealthy): State.UNHEALTHY,
}


def advance(instance: Instance, event: Event, now: float) -> Instance | None:
    """The instance after an event; None when it is gone; the very same one when the event does not apply."""
    if isinstance(event, Exited):
        return None
    if isinstance(event, Spawned):
        return replace(instance, pid=event.pid)
    state = _TABLE.get((instance.state, type(event)))
    if state is None:
        return instance
    moved = replace(instance, state=state, since=now)
    if isinstance(event, Answered):
        return replace(moved, ready_since=now, probed=event.probed)
    if isinstance(event, Unhealthy):
        return replace(moved, fault=instance.fault or Reason.UNHEALTHY, sentence=event.sentence)
    return moved


def drain(instance: Instance, now: float) -> Instance:
    """A ready instance takes no new requests from now on; others are left as they are."""
    return replace(instance, state=State.DRAINING, since=now) if instance.state is State.READY else instance


def stop(instance: Instance, now: float, fault: Reason | None, sentence: str) -> Instance:
    """The instance was told to leave. `fault` counts it as failed."""
    if instance.state is State.STOPPING:
        return instance
    fault = instance.fault or fault
    return replace(instance, state=State.STOPPING, since=now, fault=fault, sentence=instance.sentence or sentence)


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a revision's failures. Goes with the revision or by `reload`; a good run ends the count."""

    failures: int
    reason: Reason
    sentence: str
    at: float
    retry_at: float | None  # None: it is not tried again
    ever_ready: bool
    exit: Exit

    @property
    def final(self) -> bool:
        """Whether only a change or an operator brings it back."""
        return self.retry_at is None


def after_exit(
    before: Record | None, instance: Instance, end: Exit, now: float, policy: Restart, never: dict[int, str]
) -> Record | None:
    """The record after an instance ended; `before` itself when it left because it was told to, in good health."""
    if instance.state is State.STOPPING and instance.fault is None:
        return before
    good_run = instance.ready_since is not None and now - instance.ready_since >= policy.reset_after
    # Replicas that fall together, or while their revision rests, are one fall.
    same_fall = before is not None and before.retry_at is not None and now < before.retry_at
    failures = 1 if before is None or good_run else before.failures + (0 if same_fall else 1)
    ever_ready = instance.ready_since is not None or (before is not None and before.ever_ready)
    reason, sentence = _cause(instance, end, never)
    if reason is Reason.NEVER_STARTS or failures >= policy.give_up_after:
        final = reason if reason is Reason.NEVER_STARTS else Reason.GAVE_UP
        if final is Reason.GAVE_UP:
            sentence = f"gave up after {failures} failures in a row; the last: {sentence}"
        return Record(failures, final, sentence, now, None, ever_ready, end)
    retry_at = now + back_off(failures, policy, seed=instance.id)
    return Record(failures, reason, sentence, now, retry_at, ever_ready, end)


def _cause(instance: Instance, end: Exit, never: dict[int, str]) -> tuple[Reason, str]:
    if instance.fault is not None:
        return instance.fault, instance.sentence
    if end.out_of_memory:
        return Reason.OUT_OF_MEMORY, "the kernel killed it: out of memory"
    if end.code is not None and end.code in never:
        last = end.log_tail[-1].strip() if end.log_tail else ""
        return Reason.NEVER_STARTS, f"{never[end.code]}: {last}" if last else never[end.code]
    return Reason.CRASHED, describe_exit(end)


def describe_exit(end: Exit) -> str:
    """How a process tree ended, in words."""
    if end.sentence:
        return end.sentence
    if end.signal is not None:
        return f"ended by signal {end.signal}"
    if end.code is None:
        return "ended, and nothing is known of how"
    return f"ended by itself with exit code {end.code}"


def back_off(failures: int, policy: Restart, seed: str) -> float:
    """Seconds until the next try: doubling from the initial pause up to the maximum, less up to a fifth.

    The jitter comes from `seed`, as the core knows no chance: replicas that fell together rise apart.
    """
    pause = min(policy.initial * 2.0 ** min(failures - 1, 60), policy.maximum)
    spread = sum(seed.encode()) % 21 / 100
    return pause * (1 - spread)

"""The loop: observe, reconcile, apply, wait. It owns all mutable state; nothing else changes any.

Two things bring it to think again: an event of the runtime, and a new sight of the files. Reading files is
slow work and runs in a thread; its result comes back as a `Sight`. Thinking is quick and never awaits.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from xserve.core.actions import Action, Drain, Explanation, Plan, Publish, Start, Stop, Withdraw, as_row
from xserve.core.desired import Deployment, Desired
from xserve.core.events import Event, Exited
from xserve.core.exposure import Exposure
from xserve.core.lifecycle import Instance, Record, State, advance, after_exit, describe_exit, drain, stop
from xserve.core.observed import Observed, ready
from xserve.core.ports import Command, Placer, Runtime
from xserve.core.reasons import Reason
from xserve.core.reconcile import Policy, reconcile
from xserve.core.settings import Restart
from xserve.daemon.eventlog import EventLog
from xserve.http.traffic import Traffic, Unavailable

_log = logging.getLogger(__name__)
# Actions change what is observed, which may ask for more; a plan that never ends would be a fault of ours.
_MOST_PASSES = 100
_REMEMBERED = 5  # dead instances per deployment whose logs can still be asked for
_REMEMBERED_NAMES = 100  # deployments that are gone of which something is still remembered


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop acts through."""

    runtime: Runtime
    traffic: Traffic
    events: EventLog
    place: Placer
    policy: Policy
    restart: Restart
    clock: Callable[[], float]  # monotonic seconds
    forget: Callable[[str], None]  # close what is left of the connections to an address


class Loop:
    """State, decisions and their execution. All methods are called on the event loop's thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.desired = Desired()
        self.explanations: dict[str, Explanation] = {}
        self.passes = 0
        self.failures: dict[str, int] = {}  # by deployment, since the daemon started
        self._instances: dict[str, Instance] = {}
        self._wanted: dict[str, Deployment] = {}  # by instance: what it was started as
        self._records: dict[tuple[str, str], Record] = {}
        self._exposures: dict[str, Exposure] = {}
        self._history: dict[str, deque[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._changed = asyncio.Event()
        self._closed = False

    # --- what it knows -------------------------------------------------------------------------------------

    def observed(self) -> Observed:
        """A snapshot of what is there."""
        return Observed(dict(self._instances), dict(self._records), dict(self._exposures))

    def history(self, uid: str) -> list[str]:
        """The latest instances of a deployment, newest first, dead ones included."""
        return list(reversed(self._history.get(uid, ())))

    async def changed(self) -> None:
        """Returns at the next change of anything that `observed` or `explanations` show, or when all is to look."""
        await self._changed.wait()

    def nudge(self) -> None:
        """Let everybody who waits for a change look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    # --- what comes in -------------------------------------------------------------------------------------

    def see(self, desired: Desired) -> None:
        """A new sight of the files."""
        self.desired = desired
        self._forget_stale_records()
        self._forget_gone_names()
        self.think()

    def report(self, event: Event) -> None:
        """Something happened to an instance. May be called while the loop acts: thinking is put off."""
        instance = self._instances.get(event.instance)
        if instance is None:
            return
        now = self._parts.clock()
        after = advance(instance, event, now)
        if isinstance(event, Exited):
            self._bury(instance, event, now)
        elif after is not None and after is not instance:
            self._instances[event.instance] = after
            self._tell(instance, after)
        self.schedule()

    def forgive(self) -> list[str]:
        """Forget failures, so that what had given up is tried again at once; returns whose."""
        forgiven = sorted({uid for uid, _ in self._records})
        self._records.clear()
        return forgiven

    def schedule(self) -> None:
        """Think soon, once, however often this is called."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.think)

    def close(self) -> None:
        """Tell every instance to leave; no decision is made any more. Whoever made the runtime waits for it."""
        self._closed = True
        for instance in list(self._instances.values()):
            if instance.state is not State.STOPPING:
                self._act(Stop(instance.uid, instance.id, "the daemon leaves"))
        if self._timer is not None:
            self._timer.cancel()

    # --- deciding and acting -------------------------------------------------------------------------------

    def think(self) -> tuple[Action, ...]:
        """Reconcile and act until nothing is left to do; returns what was done."""
        self._scheduled = False
        if self._closed:
            return ()
        done: list[Action] = []
        for _ in range(_MOST_PASSES):
            plan = self._decide()
            if not plan.actions:
                break
            for action in plan.actions:
                self._act(action)
            done += plan.actions
        else:
            _log.error("the decisions do not come to rest: %s", [as_row(action) for action in done[-5:]])
        self.explanations = dict(plan.explanations)
        self._route()
        self._arm(plan)
        self.nudge()
        return tuple(done)

    def _decide(self) -> Plan:
        self.passes += 1
        parts = self._parts
        return reconcile(self.desired, self.observed(), parts.clock(), parts.place, parts.policy)

    def _act(self, action: Action) -> None:
        match action:
            case Publish(uid=uid, exposure=exposure):
                self._exposures[uid] = exposure
                self._parts.traffic.publish(uid, exposure)
            case Withdraw(uid=uid):
                self._exposures.pop(uid, None)
                self._parts.traffic.withdraw(uid)
            case Start():
                self._start(action)
            case Drain(instance=key):
                self._instances[key] = drain(self._instances[key], self._parts.clock())
                self._parts.traffic.drain(key)
            case Stop(instance=key):
                told = stop(self._instances[key], self._parts.clock(), action.fault, action.reason)
                self._instances[key] = told
                self._parts.runtime.stop(key, now=action.now)
        row = as_row(action)
        self._parts.events.add("action", f"{row['action']}: {action.reason}", model=action.uid, data=row)

    def _start(self, action: Start) -> None:
        deployment = self.desired.deployments[action.uid]
        key, now = secrets.token_hex(4), self._parts.clock()
        instance = Instance(
            key, action.uid, action.revision, action.ordinal, State.STARTING, now, now, gpus=action.gpus
        )
        self._instances[key] = instance
        self._wanted[key] = deployment
        self._history.setdefault(action.uid, deque(maxlen=_REMEMBERED)).append(key)
        self._parts.runtime.start(key, deployment.launch, _with_gpus(deployment.command, action.gpus))

    def _bury(self, instance: Instance, event: Exited, now: float) -> None:
        """Forget an instance; remember its failure, if it was one."""
        del self._instances[instance.id]
        self._parts.forget(self._parts.runtime.address(instance.id))
        deployment = self._wanted.pop(instance.id)
        key = (instance.uid, instance.revision)
        before = self._records.get(key)
        never = dict(deployment.never_start)
        record = after_exit(before, instance, event.exit, now, self._parts.restart, never)
        if record is before:
            sentence = f"replica {instance.ordinal} has left"
            self._parts.events.add("state", sentence, model=instance.uid, data={"instance": instance.id})
            return
        assert record is not None
        self._records[key] = record
        self.failures[instance.uid] = self.failures.get(instance.uid, 0) + 1
        said = record.sentence if instance.fault else describe_exit(event.exit)
        self._parts.events.add(
            "problem",
            f"replica {instance.ordinal} failed: {said}",
            model=instance.uid,
            reason=record.reason,
            data={"instance": instance.id, "log_tail": list(event.exit.log_tail[-5:])},
        )

    def _tell(self, before: Instance, after: Instance) -> None:
        if before.state is after.state:
            return
        seconds = after.since - after.started
        words = f"replica {after.ordinal} is {after.state}"
        if after.state is State.READY:
            words += f" after {seconds:.2f} s"
        elif after.sentence:
            words += f": {after.sentence}"
        data = {"instance": after.id, "state": str(after.state), "revision": after.revision}
        self._parts.events.add("state", words, model=after.uid, data=data)

    def _forget_stale_records(self) -> None:
        """A failure is remembered for as long as its revision is wanted."""
        wanted = {(uid, each.revision) for uid, each in self.desired.deployments.items()}
        for key in [key for key in self._records if key not in wanted]:
            del self._records[key]

    def _forget_gone_names(self) -> None:
        """What is remembered by name is kept for a while after the name went: its log may still be asked for."""
        present = {each.uid for each in self._instances.values()}
        present |= self.desired.deployments.keys() | self.desired.waiting.keys()
        gone = [uid for uid in self._history if uid not in present]
        for uid in gone[:-_REMEMBERED_NAMES]:
            del self._history[uid]
            self.failures.pop(uid, None)

    # --- telling the data path -----------------------------------------------------------------------------

    def _route(self) -> None:
        """Give the data path the ready replicas of each name, and the words for names without one."""
        observed = self.observed()
        for uid in self._exposures:
            serving = ready(observed.of(uid))
            traffic = self._parts.traffic
            traffic.set_endpoints(uid, [(each.id, self._parts.runtime.address(each.id)) for each in serving])
            traffic.explain(uid, self._unavailable(uid))

    def _unavailable(self, uid: str) -> Unavailable:
        why = self.explanations.get(uid)
        if why is None:
            return Unavailable.loading("it is about to start", 1)
        if why.reason in _COMING:
            return Unavailable.loading(why.sentence, _RETRY_AFTER.get(why.reason, 30))
        return Unavailable.failed(f"The model {uid} cannot serve: {why.sentence}")

    def _arm(self, plan: Plan) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if plan.wake_at is not None:
            pause = max(0.0, plan.wake_at - self._parts.clock())
            self._timer = asyncio.get_running_loop().call_later(pause, self.think)


_COMING = {
    Reason.PREPARING,
    Reason.LOADING,
    Reason.PROBING,
    Reason.TURN,
    Reason.UPDATING,
    Reason.BACK_OFF,
    Reason.NO_GPU,
}
_RETRY_AFTER = {Reason.PROBING: 1, Reason.LOADING: 5, Reason.BACK_OFF: 10}  # seconds


def _with_gpus(command: Command, gpus: tuple[int, ...]) -> Command:
    """An engine sees the cards that it was granted and no others."""
    if not gpus:
        return command
    visible = ("CUDA_VISIBLE_DEVICES", ",".join(str(index) for index in gpus))
    return replace(command, env=(*command.env, visible))

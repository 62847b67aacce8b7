"""A simulated daemon: plans are carried out as the daemon does, in a world without processes or time of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xserve.core.actions import Action, Drain, Plan, Publish, Start, Stop, Withdraw
from xserve.core.desired import Desired
from xserve.core.events import Answered, Drained, Event, Exit, Exited, Loaded
from xserve.core.exposure import Exposure
from xserve.core.lifecycle import LIVE, Instance, Record, State, advance, after_exit, drain, stop
from xserve.core.observed import Observed, ready
from xserve.core.ports import Gpu
from xserve.core.reconcile import Policy, reconcile
from xserve.core.settings import Restart
from xserve.placement.first_fit import first_fit

NEVER = 78
MOST_PASSES = 20
EXIT = Exit(0)


@dataclass
class Simulation:
    """Everything that the daemon knows, and a clock that only tests move."""

    policy: Policy
    restart: Restart
    gpus: tuple[Gpu, ...]
    now: float = 0.0
    desired: Desired = field(default_factory=Desired)
    plan: Plan = field(default_factory=lambda: Plan((), {}, None))
    instances: dict[str, Instance] = field(default_factory=dict)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    exposures: dict[str, Exposure] = field(default_factory=dict)
    born: int = 0

    def observed(self) -> Observed:
        """A snapshot."""
        return Observed(dict(self.instances), dict(self.records), dict(self.exposures), self.gpus)

    def want(self, desired: Desired) -> None:
        """A new sight of the files; failures of revisions that nobody wants are forgotten."""
        self.desired = desired
        wanted = {(uid, each.revision) for uid, each in desired.deployments.items()}
        self.records = {key: each for key, each in self.records.items() if key in wanted}
        self.think()

    def report(self, event: Event) -> None:
        """Something happened to an instance."""
        before = self.instances[event.instance]
        after = advance(before, event, self.now)
        if isinstance(event, Exited):
            self._bury(before, event.exit)
        elif after is not None:
            self.instances[event.instance] = after
        self.think()

    def _bury(self, gone: Instance, end: Exit) -> None:
        del self.instances[gone.id]
        key = (gone.uid, gone.revision)
        record = after_exit(self.records.get(key), gone, end, self.now, self.restart, {NEVER: "bad weights"})
        if record is not None:
            self.records[key] = record

    def think(self) -> None:
        """Decide and act until nothing is left to do."""
        for _ in range(MOST_PASSES):
            self.plan = reconcile(self.desired, self.observed(), self.now, first_fit, self.policy)
            if not self.plan.actions:
                return
            serving = {uid: len(ready(self.observed().of(uid))) for uid in self.desired.deployments}
            for action in self.plan.actions:
                self._act(action)
            for uid, before in serving.items():
                wanted = min(before, self.desired.deployments[uid].replicas)
                assert len(ready(self.observed().of(uid))) >= wanted, f"{uid} serves less after {self.plan.actions}"
        raise AssertionError(f"the decisions do not come to rest: {self.plan.actions}")

    def _act(self, action: Action) -> None:
        match action:
            case Publish(uid=uid, exposure=exposure):
                self.exposures[uid] = exposure
            case Withdraw(uid=uid):
                del self.exposures[uid]
            case Start():
                self._start(action)
            case Drain(instance=key):
                self.instances[key] = drain(self.instances[key], self.now)
            case Stop(instance=key):
                self.instances[key] = stop(self.instances[key], self.now, action.fault, action.reason)

    def _start(self, action: Start) -> None:
        record = self.records.get((action.uid, action.revision))
        assert record is None or (record.retry_at is not None and record.retry_at <= self.now), "started while it rests"
        self.born += 1
        key = f"i{self.born}"
        self.instances[key] = Instance(
            key, action.uid, action.revision, action.ordinal, State.STARTING, self.now, self.now, gpus=action.gpus
        )

    # --- a world without faults ---------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """The clock moves on, and the daemon's timer with it."""
        self.now += seconds
        if self.plan.wake_at is not None and self.plan.wake_at <= self.now:
            self.think()

    def progress(self) -> bool:
        """Every instance does what is expected of it next; returns whether any had something to do."""
        moved = False
        for key in sorted(self.instances):
            each = self.instances.get(key)
            event = _NEXT[each.state](key) if each is not None and each.state in _NEXT else None
            if event is not None:
                moved = True
                self.report(event)
        return moved

    def settle(self) -> None:
        """No more faults: instances progress, and where none can, the clock goes to the next wake-up."""
        for _ in range(500):
            if self.progress():
                continue
            if self.plan.wake_at is None:
                return
            self.pass_time(max(0.0, self.plan.wake_at - self.now))
        raise AssertionError("does not come to rest")

    def live(self, uid: str) -> list[Instance]:
        """The live instances of a deployment."""
        return [each for each in self.observed().of(uid) if each.state in LIVE]


_NEXT: dict[State, Callable[[str], Event]] = {
    State.STARTING: Loaded,
    State.PROBING: Answered,
    State.DRAINING: Drained,
    State.STOPPING: lambda key: Exited(key, EXIT),
}

"""Deployments come and go while replicas crash, hang, turn unhealthy and refuse to die; when that ends, all is well."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from xserve.core.desired import Deployment, Waiting
from xserve.core.events import Answered, Drained, Exit, Exited, Loaded, Unhealthy
from xserve.core.forecast import forecast
from xserve.core.lifecycle import COMING, LIVE, Instance, State
from xserve.core.ports import Gpu
from xserve.core.reasons import Reason
from xserve.core.reconcile import Policy
from xserve.core.settings import Restart
from xserve.placement.first_fit import first_fit

from .simulation import NEVER, Simulation
from .strategies import FOLDED, UIDS, Folded, replica_of, wanted
from .worlds import desired

CRASHES = (Exit(1), Exit(None, 9), Exit(None, 9, out_of_memory=True), Exit(NEVER), Exit(0))
# What may keep a deployment from being complete although nothing fails any more.
LASTING = {Reason.NO_GPU, Reason.NEVER_STARTS, Reason.GAVE_UP}


class Faults(RuleBasedStateMachine):
    """The daemon's decisions against a world that misbehaves."""

    @initialize(cards=st.integers(0, 4), at_once=st.integers(1, 3))
    def begin(self, cards: int, at_once: int) -> None:
        gpus = tuple(Gpu(index, "card", 24 << 30) for index in range(cards))
        policy = Policy(start_timeout=100.0, drain_timeout=20.0, max_starting=at_once)
        restart = Restart(initial=1.0, maximum=30.0, give_up_after=4, reset_after=200.0)
        self.world = Simulation(policy, restart, gpus)

    # --- people -------------------------------------------------------------------------------------------------

    @rule(uid=st.sampled_from(UIDS), choice=FOLDED)
    def edit(self, uid: str, choice: Folded) -> None:
        """Somebody writes, changes or removes an entry."""
        now = self.world.desired
        entries: list[Deployment | Waiting] = [*now.deployments.values(), *now.waiting.values()]
        others = [each for each in entries if each.uid != uid]
        new = wanted(uid, choice)
        self.world.want(desired(*others, *([new] if new else [])))

    @rule()
    def forgive(self) -> None:
        """Somebody reloads: failures are forgotten."""
        self.world.records.clear()
        self.world.think()

    # --- the world ----------------------------------------------------------------------------------------------

    def pick(self, choice: Folded, *states: State) -> Instance | None:
        """One of the instances in these states, if there is any."""
        found = [each for _, each in sorted(self.world.instances.items()) if each.state in states]
        return choice.pick(found) if found else None

    @precondition(lambda self: self.world.instances)
    @rule(choice=FOLDED)
    def go_on(self, choice: Folded) -> None:
        """An instance does what is expected of it next."""
        each = self.pick(choice, *State)
        assert each is not None
        match each.state:
            case State.STARTING:
                self.world.report(choice.pick((Loaded, Answered))(each.id))
            case State.PROBING:
                self.world.report(Answered(each.id))
            case State.DRAINING:
                self.world.report(Drained(each.id))
            case State.STOPPING:
                self.world.report(Exited(each.id, choice.pick(CRASHES)))

    @precondition(lambda self: self.world.instances)
    @rule(choice=FOLDED)
    def crash(self, choice: Folded) -> None:
        """An instance ends by itself, in whatever state."""
        each = self.pick(choice, *State)
        assert each is not None
        self.world.report(Exited(each.id, choice.pick(CRASHES)))

    @precondition(lambda self: self.world.instances)
    @rule(choice=FOLDED)
    def hang(self, choice: Folded) -> None:
        """An instance stops answering. (The clock does the rest to one that never gets ready or drained.)"""
        each = self.pick(choice, *State)
        assert each is not None
        self.world.report(Unhealthy(each.id, "does not answer"))

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 20.0, 100.0, 250.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.pass_time(seconds)

    # --- what always holds --------------------------------------------------------------------------------------

    @invariant()
    def no_card_is_held_twice(self) -> None:
        held = Counter(self.world.observed().taken())
        assert max(held.values(), default=1) == 1

    @invariant()
    def no_replica_is_there_twice(self) -> None:
        """Neither two live trees, nor a live one beside one that failed and has not left."""
        there = Counter(
            replica_of(each)
            for each in self.world.instances.values()
            if each.uid in self.world.desired.deployments and (each.state in LIVE or each.fault is not None)
        )
        assert max(there.values(), default=1) == 1

    @invariant()
    def no_more_load_than_may(self) -> None:
        coming = sum(each.state in COMING for each in self.world.instances.values())
        assert coming <= self.world.policy.max_starting

    @invariant()
    def every_missing_replica_is_explained(self) -> None:
        for uid, each in self.world.desired.deployments.items():
            ready = [one for one in current(self.world, each) if one.state is State.READY]
            assert len(ready) == each.replicas or uid in self.world.plan.explanations

    @invariant()
    def nothing_is_late(self) -> None:
        wake_at = self.world.plan.wake_at
        assert wake_at is None or wake_at > self.world.now

    # --- and in the end -----------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """When faults stop, everything comes to be as wanted, or what is missing has a lasting reason."""
        world = self.world
        world.settle()
        for uid, each in world.desired.deployments.items():
            why = world.plan.explanations.get(uid)
            complete = len(current(world, each)) == each.replicas
            assert complete or (why is not None and why.reason in LASTING), (uid, why)
            spare = len(world.live(uid)) - len(current(world, each))
            assert spare <= max(0, each.replicas - len(current(world, each)))
        assert {each.state for each in world.instances.values()} <= {State.READY}
        assert {each.uid for each in world.instances.values()} <= {*world.desired.deployments, *kept(world)}
        assert set(world.exposures) == {*world.desired.deployments, *kept(world)}
        nothing = forecast(world.desired, world.observed(), world.now, first_fit, world.policy)
        assert (nothing.actions, nothing.settled) == ((), True)


def current(world: Simulation, deployment: Deployment) -> list[Instance]:
    """Live instances of the wanted revision that are wanted."""
    return [
        each
        for each in world.live(deployment.uid)
        if each.revision == deployment.revision and each.ordinal < deployment.replicas
    ]


def kept(world: Simulation) -> set[str]:
    """Names whose entries wait and keep what they have."""
    return {uid for uid, each in world.desired.waiting.items() if each.keep}


TestFaults = Faults.TestCase
TestFaults.settings = settings(settings(), max_examples=settings().max_examples // 4, stateful_step_count=40)

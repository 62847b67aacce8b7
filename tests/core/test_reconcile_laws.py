"""Laws of the reconciler: what holds of the plan for any world.

All laws are held against the same worlds, as drawing a world costs more than deciding on it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from xserve.core.actions import Drain, Plan, Publish, Start, Stop, Withdraw
from xserve.core.desired import Deployment, Desired
from xserve.core.forecast import forecast
from xserve.core.lifecycle import COMING, LIVE, Instance, State
from xserve.core.observed import Observed
from xserve.core.reasons import Reason
from xserve.core.reconcile import Policy, reconcile
from xserve.placement.first_fit import first_fit

from .strategies import WANTED, WORLDS, World, replica_of
from .worlds import NOW, instance

NO_LIMITS = Policy(max_starting=1)
GONE_SOON = {State.DRAINING, State.DRAINED}
K = TypeVar("K")
V = TypeVar("V")


Law = Callable[[World, Plan], None]
LAWS: list[Law] = []


def law(holds: Law) -> Law:
    """A law asserts something of a world and its plan."""
    LAWS.append(holds)
    return holds


def plan_of(world: World) -> Plan:
    """The plan for a world."""
    return reconcile(world.desired, world.observed, NOW, first_fit, world.policy)


def starts_of(plan: Plan) -> list[Start]:
    """Its starts."""
    return [action for action in plan.actions if isinstance(action, Start)]


def stops_of(plan: Plan) -> dict[str, Stop]:
    """Its stops, by instance."""
    return {action.instance: action for action in plan.actions if isinstance(action, Stop)}


def leaving(plan: Plan) -> list[str]:
    """Instances that are told to go, with repetition."""
    return [action.instance for action in plan.actions if isinstance(action, Drain | Stop)]


def wanted_replicas(deployment: Deployment, world: World) -> list[Instance]:
    """The trees that are a replica of the wanted revision."""
    return [
        each
        for each in world.observed.of(deployment.uid)
        if each.revision == deployment.revision and each.ordinal < deployment.replicas
    ]


@law
def no_card_is_given_twice(world: World, plan: Plan) -> None:
    granted = [gpu for start in starts_of(plan) for gpu in start.gpus]
    assert len(granted) == len(set(granted))
    assert not set(granted) & set(world.observed.taken())


@law
def every_wanted_replica_lives_or_starts_or_is_explained(world: World, plan: Plan) -> None:
    starting = {(start.uid, start.revision, start.ordinal) for start in starts_of(plan)}
    for uid, deployment in world.desired.deployments.items():
        live = {each.ordinal for each in wanted_replicas(deployment, world) if each.state in LIVE}
        for ordinal in range(deployment.replicas):
            assert ordinal in live or (uid, deployment.revision, ordinal) in starting or uid in plan.explanations


@law
def who_is_not_explained_and_has_no_action_is_as_wanted(world: World, plan: Plan) -> None:
    busy = {action.uid for action in plan.actions} | set(plan.explanations)
    for uid, deployment in world.desired.deployments.items():
        if uid not in busy:
            ready = [each for each in wanted_replicas(deployment, world) if each.state is State.READY]
            assert len(ready) == deployment.replicas


@law
def the_forecast_comes_to_rest(world: World, plan: Plan) -> None:
    assert forecast(world.desired, world.observed, NOW, first_fit, world.policy).settled


@law
def a_ready_replica_that_is_wanted_is_never_told_to_go(world: World, plan: Plan) -> None:
    told = set(leaving(plan))
    for deployment in world.desired.deployments.values():
        assert not {each.id for each in wanted_replicas(deployment, world) if each.state is State.READY} & told


@law
def a_stop_counts_as_failed_only_for_time_or_health(world: World, plan: Plan) -> None:
    late = NOW - world.policy.start_timeout
    for key, stop in stops_of(plan).items():
        told = world.observed.instances[key]
        match stop.fault:
            case Reason.UNHEALTHY:
                assert told.state is State.UNHEALTHY
                assert stop.now
            case Reason.START_TIMEOUT:
                assert told.state is State.STARTING
                assert told.since <= late
            case _:
                assert stop.fault is None
                assert told.state is not State.UNHEALTHY


@law
def nobody_who_serves_is_stopped_without_draining(world: World, plan: Plan) -> None:
    for key in stops_of(plan):
        assert world.observed.instances[key].state is not State.READY


@law
def the_unhealthy_the_drained_and_the_late_always_go(world: World, plan: Plan) -> None:
    stops = stops_of(plan)
    for key, each in world.observed.instances.items():
        age = NOW - each.since
        late = each.state is State.DRAINING and age >= world.policy.drain_timeout
        slow = each.state is State.STARTING and age >= world.policy.start_timeout
        if late or slow or each.state in {State.UNHEALTHY, State.DRAINED}:
            assert key in stops


@law
def nothing_starts_while_its_revision_rests_and_then_there_is_a_wake_up(world: World, plan: Plan) -> None:
    for start in starts_of(plan):
        record = world.observed.records.get((start.uid, start.revision))
        assert record is None or (record.retry_at is not None and record.retry_at <= NOW)
    for uid, deployment in world.desired.deployments.items():
        record = world.observed.records.get((uid, deployment.revision))
        present = {each.ordinal for each in wanted_replicas(deployment, world) if each.state not in GONE_SOON}
        retry_at = record.retry_at if record else None
        if retry_at is not None and retry_at > NOW and len(present) < deployment.replicas:
            assert plan.wake_at is not None
            assert plan.wake_at <= retry_at


@law
def every_deadline_has_a_wake_up_and_none_lies_in_the_past(world: World, plan: Plan) -> None:
    assert plan.wake_at is None or plan.wake_at > NOW
    told = set(leaving(plan))
    limits = {State.DRAINING: world.policy.drain_timeout, State.STARTING: world.policy.start_timeout}
    for key, each in world.observed.instances.items():
        if each.state in limits and key not in told:
            assert plan.wake_at is not None
            assert plan.wake_at <= each.since + limits[each.state]


@law
def a_failed_tree_has_no_successor_while_it_is_there(world: World, plan: Plan) -> None:
    started = {(start.uid, start.revision, start.ordinal) for start in starts_of(plan)}
    for each in world.observed.instances.values():
        if each.state is State.UNHEALTHY or (each.state is State.STOPPING and each.fault):
            assert replica_of(each) not in started


@law
def no_drain_makes_fewer_ready_than_are_wanted(world: World, plan: Plan) -> None:
    told = set(leaving(plan))
    for uid, deployment in world.desired.deployments.items():
        ready = [each for each in world.observed.of(uid) if each.state is State.READY]
        left = [each for each in ready if each.id not in told]
        assert len(left) == max(
            min(deployment.replicas, len(ready)),
            sum(each.state is State.READY for each in wanted_replicas(deployment, world)),
        )


@law
def no_replica_lives_twice(world: World, plan: Plan) -> None:
    live = [replica_of(each) for each in world.observed.instances.values() if each.state in LIVE]
    live += [(start.uid, start.revision, start.ordinal) for start in starts_of(plan)]
    assert max(Counter(live).values(), default=1) == 1


@law
def only_what_is_wanted_is_started(world: World, plan: Plan) -> None:
    for start in starts_of(plan):
        wanted = world.desired.deployments[start.uid]
        assert start.revision == wanted.revision
        assert 0 <= start.ordinal < wanted.replicas


@law
def no_more_load_at_once_than_may(world: World, plan: Plan) -> None:
    coming = sum(each.state in COMING for each in world.observed.instances.values())
    assert len(starts_of(plan)) <= max(0, world.policy.max_starting - coming)


@law
def everything_has_its_reason_in_words(world: World, plan: Plan) -> None:
    assert all(action.reason for action in plan.actions)
    assert all(each.sentence for each in plan.explanations.values())
    assert set(plan.explanations) <= set(world.desired.deployments) | set(world.desired.waiting)


@law
def nobody_is_told_twice_to_go(world: World, plan: Plan) -> None:
    assert max(Counter(leaving(plan)).values(), default=1) == 1


@law
def who_waits_keeps_what_runs_unless_the_definition_is_gone(world: World, plan: Plan) -> None:
    told = set(leaving(plan))
    for uid, each in world.desired.waiting.items():
        live = {one.id for one in world.observed.of(uid) if one.state in {State.READY, State.PROBING}}
        assert live & told == (set() if each.keep else live)


@law
def whatever_is_not_wanted_goes(world: World, plan: Plan) -> None:
    wanted = set(world.desired.deployments) | set(world.desired.waiting)
    for each in world.observed.instances.values():
        if each.uid not in wanted and each.state in LIVE:
            assert each.id in leaving(plan)


@law
def names_are_answered_as_wanted_afterwards(world: World, plan: Plan) -> None:
    answered = dict(world.observed.exposures)
    for action in plan.actions:
        match action:
            case Publish():
                assert answered.get(action.uid) != action.exposure
                answered[action.uid] = action.exposure
            case Withdraw():
                del answered[action.uid]
    kept = {uid for uid, each in world.desired.waiting.items() if each.keep}
    assert set(answered) == set(world.desired.deployments) | kept
    assert all(answered[uid] == each.exposure for uid, each in world.desired.deployments.items())


@law
def another_name_never_loses_by_a_failure_here(world: World, plan: Plan) -> None:
    """What is wrong with one deployment takes nothing from the others, save a turn or a card."""
    failed = replace(world.observed, records={})
    before, after = starts_of(plan_of(world._replace(observed=failed))), starts_of(plan)
    resting = {uid for uid, _ in world.observed.records}
    assert {each.uid for each in before} - resting <= {each.uid for each in after}


@given(WORLDS)
def test_every_law_holds(world: World) -> None:
    plan = plan_of(world)
    for holds in LAWS:
        holds(world, plan)


@given(WORLDS, st.integers(0, 99))
def test_the_order_of_the_input_does_not_matter(world: World, seed: int) -> None:
    chance = random.Random(seed)
    wanted, seen = world.desired, world.observed
    other = World(
        Desired(shuffled(wanted.deployments, chance), shuffled(wanted.waiting, chance)),
        Observed(
            shuffled(seen.instances, chance),
            shuffled(seen.records, chance),
            shuffled(seen.exposures, chance),
            tuple(chance.sample(seen.gpus, len(seen.gpus))),
        ),
        world.policy,
    )
    assert plan_of(world) == plan_of(other)


def shuffled(mapping: Mapping[K, V], chance: random.Random) -> dict[K, V]:
    """The same mapping in another order."""
    return dict(chance.sample(list(mapping.items()), len(mapping)))


@given(WANTED)
def test_a_world_as_wanted_gets_no_actions(wanted: Desired) -> None:
    there = [
        instance(uid=uid, revision=each.revision, ordinal=ordinal)
        for uid, each in wanted.deployments.items()
        for ordinal in range(each.replicas)
    ]
    exposures = {uid: each.exposure for uid, each in wanted.deployments.items()}
    exposures |= {uid: each.exposure for uid, each in wanted.waiting.items() if each.keep and each.exposure}
    plan = reconcile(wanted, Observed({each.id: each for each in there}, {}, exposures), NOW, first_fit, NO_LIMITS)
    assert plan.actions == ()
    assert plan.wake_at is None
    zero = {uid for uid, each in wanted.deployments.items() if not each.replicas}
    assert set(plan.explanations) == set(wanted.waiting) | zero

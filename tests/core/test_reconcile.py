"""The rules of the reconciler, one by one, by example."""

from __future__ import annotations

import pytest

from xserve.core.actions import Drain, Explanation, Publish, Start, Stop, Withdraw
from xserve.core.exposure import Exposure
from xserve.core.lifecycle import State
from xserve.core.ports import Gpu, Wish
from xserve.core.reasons import Reason
from xserve.core.reconcile import Policy

from .worlds import (
    EXPOSURE,
    NOW,
    POLICY,
    decide,
    deployment,
    desired,
    drains,
    failing,
    instance,
    observed,
    old,
    published,
    reason_of,
    record,
    starts,
    stops,
    waiting,
    withdrawn,
)

ALL_STATES = list(State)


def test_nothing_wanted_and_nothing_there_is_nothing_to_do() -> None:
    plan = decide(desired(), observed(published=()))
    assert (plan.actions, dict(plan.explanations), plan.wake_at) == ((), {}, None)


def test_a_world_as_wanted_is_left_alone() -> None:
    plan = decide(desired(deployment(replicas=2)), observed(instance(), instance(ordinal=1)))
    assert (plan.actions, dict(plan.explanations), plan.wake_at) == ((), {}, None)


# -- rule 1: what is not wanted --------------------------------------------------------------------------------------


def test_an_unwanted_name_is_withdrawn_and_its_ready_instance_drains() -> None:
    ready = instance()
    plan = decide(desired(), observed(ready))
    assert withdrawn(plan) == ["chat"]
    assert drains(plan) == [ready.id]
    assert stops(plan) == []
    assert reason_of(plan, Withdraw) == reason_of(plan, Drain) == "no deploy entry names it any more"


@pytest.mark.parametrize("state", [State.STARTING, State.PROBING])
def test_an_unwanted_instance_that_is_not_ready_stops_without_counting_as_failed(state: State) -> None:
    coming = instance(state)
    plan = decide(desired(), observed(coming, published=()), now=NOW + 10_000)
    assert stops(plan) == [coming.id]
    (stop,) = plan.actions
    assert isinstance(stop, Stop)
    assert (stop.fault, stop.now) == (None, False)


def test_an_instance_of_a_name_that_is_not_published_goes_all_the_same() -> None:
    plan = decide(desired(), observed(instance(), published=()))
    assert withdrawn(plan) == []
    assert len(drains(plan)) == 1


def test_a_stopping_instance_is_not_told_again() -> None:
    assert decide(desired(), observed(instance(State.STOPPING), published=())).actions == ()


def test_an_entry_that_waits_keeps_what_it_has() -> None:
    plan = decide(desired(waiting()), observed(old(), instance(State.STARTING, ordinal=1)))
    assert plan.actions == ()
    assert plan.explanations == {"chat": Explanation(Reason.NO_WEIGHTS, "its weights are not there yet")}


def test_an_entry_that_lost_its_definition_keeps_nothing() -> None:
    ready, coming = instance(), instance(State.PROBING, ordinal=1)
    plan = decide(desired(waiting(keep=False)), observed(ready, coming))
    assert (withdrawn(plan), drains(plan), stops(plan)) == (["chat"], [ready.id], [coming.id])
    assert plan.explanations["chat"].reason is Reason.NO_DEFINITION
    assert {action.reason for action in plan.actions} == {"no definition is called so"}


# -- rule 2: names ---------------------------------------------------------------------------------------------------


def test_a_wanted_deployment_is_published_once() -> None:
    plan = decide(desired(deployment()), observed(instance(), published=()))
    assert plan.actions == (Publish("chat", EXPOSURE, "deploy.yaml names it"),)


def test_a_changed_limit_is_published_and_restarts_nothing() -> None:
    wanted = deployment(exposure=Exposure("LLM", ("gpt",), 8))
    plan = decide(desired(wanted), observed(instance(), published={"chat": Exposure("LLM", (), 32)}))
    assert plan.actions == (Publish("chat", wanted.exposure, "changed: aliases none -> gpt, request_limit 32 -> 8"),)


def test_what_waits_is_published_once_its_definition_is_known() -> None:
    assert published(decide(desired(waiting()), observed(published=()))) == ["chat"]
    assert published(decide(desired(waiting(exposure=None)), observed(published=()))) == []
    assert published(decide(desired(waiting(keep=False)), observed(published=()))) == []


def test_what_waits_changes_its_names_too_and_keeps_the_defaults_of_what_runs() -> None:
    before = Exposure("LLM", ("gpt",), None, {"stop": ["x"]})
    plan = decide(desired(waiting()), observed(instance(), published={"chat": before}))
    wanted = Exposure("LLM", (), None, {"stop": ["x"]})
    assert plan.actions == (Publish("chat", wanted, "changed: aliases gpt -> none"),)


# -- rule 3: starting ------------------------------------------------------------------------------------------------


def test_every_missing_replica_is_started() -> None:
    plan = decide(desired(deployment(replicas=3)), observed(instance(ordinal=1)))
    assert starts(plan) == [("chat", "new", 0), ("chat", "new", 2)]
    assert {each.reason for each in plan.actions if isinstance(each, Start) and each.ordinal == 2} == {
        "replica 2 of 3 is not running"
    }


@pytest.mark.parametrize("state", [State.STARTING, State.PROBING, State.READY])
def test_a_live_instance_is_not_started_again(state: State) -> None:
    assert starts(decide(desired(deployment()), observed(instance(state)))) == []


@pytest.mark.parametrize("state", [State.DRAINING, State.DRAINED, State.STOPPING])
def test_a_leaving_instance_in_good_health_has_a_successor_at_once(state: State) -> None:
    assert starts(decide(desired(deployment()), observed(instance(state)))) == [("chat", "new", 0)]


def test_no_replicas_is_a_state_of_its_own() -> None:
    ready = instance()
    plan = decide(desired(deployment(replicas=0)), observed(ready))
    assert drains(plan) == [ready.id]
    assert reason_of(plan, Drain) == "replicas is 0"
    assert plan.explanations["chat"] == Explanation(Reason.SCALED_TO_ZERO, "replicas is 0")


def test_a_revision_that_failed_for_good_is_not_started() -> None:
    world = observed(records={("chat", "new"): record(None, reason=Reason.NEVER_STARTS)})
    plan = decide(desired(deployment()), world)
    assert (plan.actions, plan.wake_at) == ((), None)
    assert plan.explanations["chat"] == Explanation(Reason.NEVER_STARTS, "ended by signal 9")


def test_a_revision_that_rests_is_not_started_before_its_time_and_wakes_then() -> None:
    world = observed(records={("chat", "new"): record(NOW + 2.5)})
    plan = decide(desired(deployment()), world)
    assert (plan.actions, plan.wake_at) == ((), NOW + 2.5)
    assert plan.explanations["chat"] == Explanation(
        Reason.BACK_OFF, "ended by signal 9; tried 2 times, next try in 2.5 s"
    )


def test_a_revision_that_rested_is_tried_again_and_says_why() -> None:
    plan = decide(desired(deployment()), observed(records={("chat", "new"): record(NOW)}))
    assert starts(plan) == [("chat", "new", 0)]
    assert reason_of(plan, Start) == "try 3: ended by signal 9"


def test_the_failures_of_another_revision_or_name_do_not_count() -> None:
    records = {("chat", "old"): record(None), ("other", "new"): record(None)}
    assert starts(decide(desired(deployment()), observed(records=records))) == [("chat", "new", 0)]


def test_only_so_many_load_at_once_over_all_deployments() -> None:
    wanted = desired(deployment("a", replicas=3), deployment("b"), deployment("c", replicas=0))
    world = observed(instance(State.PROBING, uid="c", revision="x"), published=("a", "b", "c"))
    plan = decide(wanted, world, policy=Policy(max_starting=3))
    assert starts(plan) == [("a", "new", 0), ("a", "new", 1)]
    for uid in ("a", "b"):
        assert plan.explanations[uid] == Explanation(
            Reason.TURN, "3 replicas load already; it is next when one is done"
        )


def test_the_turn_goes_by_name_and_not_by_the_order_of_files() -> None:
    wanted = desired(deployment("b"), deployment("a"))
    plan = decide(wanted, observed(published=("a", "b")), policy=Policy(max_starting=1))
    assert starts(plan) == [("a", "new", 0)]


def test_ready_instances_do_not_count_as_loading() -> None:
    world = observed(instance(), instance(uid="b", revision="x"), published=("chat",))
    assert len(starts(decide(desired(deployment(replicas=2)), world, policy=Policy(max_starting=1)))) == 1


def test_a_replica_gets_cards_that_nobody_has() -> None:
    wanted = desired(deployment("a", wish=Wish(1)), deployment("b", wish=Wish(1)))
    world = observed(instance(State.STOPPING, uid="x", gpus=(0,)), gpus=3, published=("a", "b"))
    assert [each.gpus for each in decide(wanted, world).actions if isinstance(each, Start)] == [(1,), (2,)]


def test_where_no_card_fits_the_policy_says_why() -> None:
    plan = decide(desired(deployment(wish=Wish(2))), observed(gpus=1))
    assert plan.actions == ()
    assert plan.explanations["chat"] == Explanation(Reason.NO_GPU, "needs 2 GPUs; this machine has 1, 1 free")


def test_a_refused_replica_takes_no_turn_from_another() -> None:
    wanted = desired(deployment("a", wish=Wish(1)), deployment("b"))
    plan = decide(wanted, observed(published=("a", "b")), policy=Policy(max_starting=1))
    assert starts(plan) == [("b", "new", 0)]


def test_named_cards_are_divided_evenly_over_the_replicas() -> None:
    wanted = desired(deployment(replicas=2, wish=Wish(4, (3, 1, 0, 2))))
    plan = decide(wanted, observed(gpus=4))
    assert [each.gpus for each in plan.actions if isinstance(each, Start)] == [(3, 1), (0, 2)]


def test_a_failed_instance_is_waited_for_before_it_is_replaced() -> None:
    """Else the pause that its failure asks for would never be kept, and two trees would hold its memory."""
    for gone in (failing(), instance(State.UNHEALTHY)):
        plan = decide(desired(deployment(replicas=2)), observed(gone, instance(ordinal=1)))
        assert starts(plan) == []
        assert plan.explanations["chat"].reason is Reason.BACK_OFF
        assert plan.explanations["chat"].sentence == f"replica 0 failed and has not left yet: {gone.sentence}"


def test_a_failed_instance_of_another_revision_or_ordinal_holds_nobody_up() -> None:
    world = observed(failing(revision="old"), failing(ordinal=1))
    assert starts(decide(desired(deployment()), world)) == [("chat", "new", 0)]


# -- rules 4 and 5: what is spare ------------------------------------------------------------------------------------


def test_an_instance_beyond_the_number_of_replicas_drains() -> None:
    world = observed(instance(), instance(ordinal=1), instance(State.STARTING, ordinal=2))
    plan = decide(desired(deployment(replicas=1)), world)
    assert drains(plan) == ["chat-new-1-ready-0"]
    assert stops(plan) == ["chat-new-2-starting-0"]
    assert {action.reason for action in plan.actions} == {"replicas is 1"}
    assert dict(plan.explanations) == {}


def test_the_old_revision_serves_on_until_the_new_one_is_ready() -> None:
    plan = decide(desired(deployment()), observed(old()))
    assert starts(plan) == [("chat", "new", 0)]
    assert reason_of(plan, Start) == "replica 0 changes to revision new; the old one serves until it is ready"
    assert drains(plan) == []
    assert plan.explanations["chat"] == Explanation(
        Reason.UPDATING, "revision new is loading; the previous one serves until it is ready"
    )


def test_the_old_revision_drains_when_the_new_one_is_ready() -> None:
    plan = decide(desired(deployment()), observed(instance(), old()))
    assert drains(plan) == ["chat-old-0-ready-0"]
    assert reason_of(plan, Drain) == "revision new is ready in its place"
    assert dict(plan.explanations) == {}


def test_old_replicas_leave_one_by_one_the_oldest_first() -> None:
    olds = [old(ordinal=each, since=NOW - each) for each in range(3)]
    plan = decide(desired(deployment(replicas=3)), observed(instance(), *olds))
    assert drains(plan) == [olds[2].id]


def test_more_replicas_of_a_new_revision_drain_no_old_one_early() -> None:
    olds = [old(ordinal=each) for each in range(3)]
    assert drains(decide(desired(deployment(replicas=4)), observed(*olds))) == []


def test_fewer_replicas_of_a_new_revision_let_the_rest_go_at_once() -> None:
    olds = [old(ordinal=each) for each in range(3)]
    plan = decide(desired(deployment(replicas=1)), observed(*olds))
    assert len(drains(plan)) == 2
    assert {each.reason for each in plan.actions if isinstance(each, Drain)} == {"replicas is 1"}


def test_a_spare_replica_serves_on_while_the_wanted_ones_load() -> None:
    world = observed(instance(State.STARTING), instance(ordinal=1))
    assert drains(decide(desired(deployment(replicas=1)), world)) == []


def test_a_spare_replica_of_the_wanted_revision_does_not_count_as_the_wanted_one() -> None:
    world = observed(instance(ordinal=1), old())
    assert drains(decide(desired(deployment(replicas=1)), world)) == ["chat-old-0-ready-0"]


@pytest.mark.parametrize("state", [State.STARTING, State.PROBING])
def test_an_old_revision_that_still_loads_stops_at_once(state: State) -> None:
    plan = decide(desired(deployment()), observed(old(state)))
    assert len(stops(plan)) == 1
    assert reason_of(plan, Stop) == "revision new replaces it before it was ready"
    assert starts(plan) == [("chat", "new", 0)]


def test_a_new_revision_that_fails_leaves_the_old_one_serving_and_says_so() -> None:
    plan = decide(desired(deployment()), observed(old(), records={("chat", "new"): record(None)}))
    assert plan.actions == ()
    assert plan.explanations["chat"].sentence == "ended by signal 9; the previous revision serves on"


def test_a_spare_replica_is_not_called_a_previous_revision() -> None:
    world = observed(instance(ordinal=1), records={("chat", "new"): record(None)})
    assert decide(desired(deployment()), world).explanations["chat"].sentence == "ended by signal 9"


# -- rules 6 and 7: time and health ----------------------------------------------------------------------------------


def test_a_drained_instance_stops() -> None:
    plan = decide(desired(), observed(instance(State.DRAINED), published=()))
    assert reason_of(plan, Stop) == "its last request ended"


def test_a_draining_instance_stops_at_its_deadline_and_not_before() -> None:
    world = observed(instance(State.DRAINING, since=NOW), published=())
    before = decide(desired(), world, now=NOW + POLICY.drain_timeout - 0.001)
    assert (before.actions, before.wake_at) == ((), NOW + POLICY.drain_timeout)
    at = decide(desired(), world, now=NOW + POLICY.drain_timeout)
    assert reason_of(at, Stop) == "requests were still in flight after 60 s"
    assert at.wake_at is None
    (stop,) = at.actions
    assert isinstance(stop, Stop)
    assert stop.fault is None


def test_an_instance_that_loads_too_long_stops_as_failed() -> None:
    world = observed(instance(State.STARTING, since=NOW))
    before = decide(desired(deployment()), world, now=NOW + POLICY.start_timeout - 0.001)
    assert (before.actions, before.wake_at) == ((), NOW + POLICY.start_timeout)
    at = decide(desired(deployment()), world, now=NOW + POLICY.start_timeout)
    assert at.actions == (Stop("chat", "chat-new-0-starting-0", "was not ready within 600 s", Reason.START_TIMEOUT),)


def test_an_unwanted_instance_that_loads_too_long_is_stopped_once_and_is_no_failure() -> None:
    world = observed(instance(State.STARTING, since=NOW), published=())
    (stop,) = decide(desired(), world, now=NOW + 10_000).actions
    assert isinstance(stop, Stop)
    assert stop.fault is None


def test_an_unhealthy_instance_stops_without_grace_as_failed() -> None:
    sick = instance(State.UNHEALTHY)
    (stop,) = decide(desired(waiting()), observed(sick)).actions
    assert stop == Stop("chat", sick.id, "did not answer", Reason.UNHEALTHY, now=True)


def test_the_earliest_deadline_wakes() -> None:
    world = observed(
        instance(State.STARTING, since=NOW - 10),
        instance(State.DRAINING, revision="old", since=NOW - 20),
        records={("b", "new"): record(NOW + 45)},
        published=("chat", "b"),
    )
    assert decide(desired(deployment(), deployment("b")), world).wake_at == NOW + 40


@pytest.mark.parametrize(
    ("state", "reason", "sentence"),
    [
        (State.STARTING, Reason.LOADING, "replica 1 loads its weights"),
        (State.PROBING, Reason.PROBING, "replica 1 is asked a first question"),
    ],
)
def test_what_is_on_its_way_is_explained(state: State, reason: Reason, sentence: str) -> None:
    plan = decide(desired(deployment(replicas=2)), observed(instance(), instance(state, ordinal=1)))
    assert plan.explanations == {"chat": Explanation(reason, sentence)}


def test_a_card_that_is_lost_frees_nobody_by_mistake() -> None:
    world = observed(instance(gpus=(7,)), gpus=1)
    assert world.gpus == (Gpu(0, "card", 24 << 30),)
    assert decide(desired(deployment(wish=Wish(1))), world).actions == ()

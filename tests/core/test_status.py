"""What people see is derived from what is wanted and what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from xserve.core.actions import Explanation
from xserve.core.desired import Desired
from xserve.core.events import Exit
from xserve.core.exposure import Exposure
from xserve.core.lifecycle import Record, State
from xserve.core.observed import Observed
from xserve.core.ports import Wish
from xserve.core.problems import Problem
from xserve.core.reasons import Reason
from xserve.core.status import Gauges, action_views, model_views, problem_view, settled, waiting_views
from xserve.core.views import ModelView

from .worlds import NOW, decide, deployment, desired, failing, instance, observed, old, record, waiting

GAUGES = Gauges(in_flight=len, log=lambda key: f"/logs/{key}")


def views(wanted: Desired, world: Observed) -> list[ModelView]:
    """What is shown after a decision."""
    return model_views(wanted, world, decide(wanted, world).explanations, NOW + 2, GAUGES)


def view(wanted: Desired, world: Observed) -> ModelView:
    """What is shown of the only deployment."""
    (found,) = views(wanted, world)
    return found


FAILED = {("chat", "new"): record(None, reason=Reason.NEVER_STARTS)}
GAVE_UP = {("chat", "new"): record(None, reason=Reason.GAVE_UP)}
RESTS = {("chat", "new"): record(NOW + 5)}


@pytest.mark.parametrize(
    ("wanted", "world", "state", "reason"),
    [
        (desired(deployment()), observed(instance()), "ready", Reason.READY),
        (desired(deployment()), observed(), "starting", Reason.LOADING),
        (desired(deployment()), observed(instance(State.STARTING)), "starting", Reason.LOADING),
        (desired(deployment()), observed(instance(State.PROBING)), "starting", Reason.PROBING),
        (desired(deployment(replicas=0)), observed(), "disabled", Reason.SCALED_TO_ZERO),
        (desired(deployment()), observed(old()), "updating", Reason.UPDATING),
        (
            desired(deployment(replicas=2)),
            observed(instance(), instance(State.STARTING, ordinal=1)),
            "updating",
            Reason.LOADING,
        ),
        (desired(deployment()), observed(records=RESTS), "backoff", Reason.BACK_OFF),
        (desired(deployment()), observed(failing()), "backoff", Reason.BACK_OFF),
        (desired(deployment()), observed(records=FAILED), "failed", Reason.NEVER_STARTS),
        (desired(deployment()), observed(records=GAVE_UP), "failed", Reason.GAVE_UP),
        (desired(deployment(wish=Wish(1))), observed(), "waiting", Reason.NO_GPU),
        (desired(waiting()), observed(), "waiting", Reason.NO_WEIGHTS),
        (desired(waiting(keep=False)), observed(instance()), "waiting", Reason.NO_DEFINITION),
        (desired(), observed(instance(State.DRAINING)), "stopping", Reason.STOPPING),
    ],
)
def test_every_situation_has_a_state_and_a_reason(wanted: Desired, world: Observed, state: str, reason: Reason) -> None:
    found = view(wanted, world)
    assert (found.state, found.reason) == (state, reason)
    assert found.message


def test_nothing_wanted_and_nothing_there_shows_nothing() -> None:
    assert views(desired(), observed(published=())) == []


def test_everything_wanted_or_there_is_shown_once_by_name() -> None:
    wanted = desired(deployment("b"), waiting("a"))
    world = observed(instance(uid="b"), instance(uid="c"), published=("b", "d"))
    assert [each.uid for each in views(wanted, world)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("instances", "sentence"),
    [
        ([instance()], "1 replica takes requests"),
        ([instance(), instance(ordinal=1)], "2 replicas take requests"),
        (
            [instance(), replace(instance(ordinal=1), probed=False)],
            "2 replicas take requests (not probed: its engine declares no probe)",
        ),
    ],
)
def test_ready_says_whether_it_was_proved(instances: list[Any], sentence: str) -> None:
    assert view(desired(deployment(replicas=len(instances))), observed(*instances)).message == sentence


def test_what_is_shown_of_a_deployment() -> None:
    wanted = deployment(replicas=2, exposure=Exposure("LLM", ("gpt",), 8))
    found = view(desired(wanted), observed(instance(), old(), instance(State.STARTING, ordinal=1)))
    assert (found.model, found.model_type, found.engine, found.aliases) == ("chat", "LLM", "fake", ["gpt"])
    assert (found.request_limit, found.replicas, found.ready) == (8, 2, 2)
    assert (found.revision, found.running) == ("new", ["new", "old"])
    assert (found.definition_path, found.deploy_path, found.layer) == ("models.d/chat.json", "deploy.yaml", "admin")
    assert found.generation == "definition-o-order-of-cha"
    assert (found.stale, found.failure) == (False, None)
    assert len(found.instances) == 3


@pytest.mark.parametrize("which", ["registration", "order"])
def test_a_rejected_edit_of_either_file_shows(which: str) -> None:
    wanted = deployment()
    stale = replace(wanted, **{which: replace(getattr(wanted, which), stale=True)})
    assert view(desired(stale), observed(instance())).stale is True


def test_what_waits_shows_its_entry() -> None:
    found = view(desired(waiting()), observed(old()))
    assert (found.model, found.deploy_path, found.replicas, found.ready) == ("chat", "deploy.yaml", 1, 1)
    assert (found.revision, found.engine, found.generation) == ("", "", "")
    assert found.message == "its weights are not there yet"


def test_what_is_shown_of_a_replica() -> None:
    tree = replace(instance(State.UNHEALTHY, since=NOW), started=NOW - 10, pid=4711, gpus=(1,))
    (found,) = view(desired(deployment()), observed(tree)).instances
    assert (found.instance, found.ordinal, found.state, found.revision, found.pid) == (
        tree.id,
        0,
        "unhealthy",
        "new",
        4711,
    )
    assert (found.since, found.age, found.gpus) == (2.0, 12.0, [1])
    assert (found.in_flight, found.log, found.note) == (len(tree.id), f"/logs/{tree.id}", "did not answer")


@pytest.mark.parametrize(("retry_at", "retry_in"), [(NOW + 5, 3.0), (NOW + 1, 0.0), (None, None)])
def test_what_is_shown_of_a_failure(retry_at: float | None, retry_in: float | None) -> None:
    tail = tuple(str(number) for number in range(30))
    kept = Record(3, Reason.CRASHED, "ended", NOW, retry_at, False, Exit(1, log_tail=tail))
    failure = view(desired(deployment()), observed(records={("chat", "new"): kept})).failure
    assert failure is not None
    assert (failure.reason, failure.message, failure.failures) == ("Crashed", "ended", 3)
    assert (failure.seconds_ago, failure.retry_in, failure.log_tail) == (2.0, retry_in, list(tail[-20:]))


def test_a_failure_of_another_revision_is_not_shown() -> None:
    assert view(desired(deployment()), observed(instance(), records={("chat", "old"): record(None)})).failure is None


def test_problems_and_actions_as_they_are_shown() -> None:
    found = problem_view(Problem("a.yaml", 1, 2, "x", "is wrong"))
    assert (found.text, found.line, found.column, found.severity) == ("a.yaml:1:2: x: is wrong", 1, 2, "error")
    plan = decide(desired(deployment()), observed(old(ordinal=1), old(), published=()))
    assert [each.action for each in action_views(plan.actions)] == ["publish", "start", "drain"]


def test_loading_is_not_waiting() -> None:
    reasons = {"a": Reason.LOADING, "b": Reason.PROBING, "c": Reason.UPDATING, "e": Reason.NO_GPU, "d": Reason.TURN}
    found = waiting_views({uid: Explanation(reason, "why") for uid, reason in reasons.items()})
    assert [(each.model, each.reason) for each in found] == [("d", "WaitsForTurn"), ("e", "NoGpu")]


@pytest.mark.parametrize(
    ("wanted", "world", "expected"),
    [
        (desired(deployment()), observed(instance()), True),
        (desired(), observed(published=()), True),
        (desired(deployment(replicas=0)), observed(), True),
        (desired(waiting()), observed(), False),
        (desired(deployment()), observed(instance(), old(State.STOPPING)), False),
        (desired(deployment()), observed(instance(State.STARTING)), False),
        (desired(deployment()), observed(records=FAILED), False),
    ],
)
def test_settled_is_when_nothing_waits_and_nothing_moves(wanted: Desired, world: Observed, expected: bool) -> None:
    assert settled(wanted, world, decide(wanted, world).explanations) is expected

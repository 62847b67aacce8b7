"""Actions as rows, and the forecast that `plan` prints."""

from __future__ import annotations

from xserve.core.actions import Drain, Publish, Start, Stop, Withdraw, as_row
from xserve.core.desired import Desired
from xserve.core.forecast import forecast
from xserve.core.lifecycle import State
from xserve.core.observed import Observed
from xserve.core.ports import Wish
from xserve.core.reasons import Reason
from xserve.core.reconcile import Policy
from xserve.placement.first_fit import first_fit

from .worlds import EXPOSURE, NOW, POLICY, deployment, desired, instance, observed, old


def test_actions_as_rows() -> None:
    assert as_row(Start("chat", "r1", 2, (0,), "why")) == {
        "action": "start",
        "model": "chat",
        "revision": "r1",
        "replica": 2,
        "reason": "why",
    }
    assert as_row(Drain("chat", "i1", "why")) == {
        "action": "drain",
        "model": "chat",
        "instance": "i1",
        "reason": "why",
    }
    assert as_row(Stop("chat", "i1", "why"))["action"] == "stop"
    assert as_row(Publish("chat", EXPOSURE, "why")) == {"action": "publish", "model": "chat", "reason": "why"}
    assert as_row(Withdraw("chat", "why"))["action"] == "withdraw"


def kinds(wanted: Desired, world: Observed, policy: Policy = POLICY) -> list[str]:
    """Kinds of the forecast's actions, in their order."""
    found = forecast(wanted, world, NOW, first_fit, policy)
    assert found.settled
    return [type(action).__name__ for action in found.actions]


def test_a_new_deployment_is_published_and_started() -> None:
    assert kinds(desired(deployment()), observed(published=())) == ["Publish", "Start"]


def test_a_change_starts_drains_and_stops_in_this_order() -> None:
    assert kinds(desired(deployment()), observed(old())) == ["Start", "Drain", "Stop"]


def test_a_removal_withdraws_drains_and_stops() -> None:
    assert kinds(desired(), observed(instance())) == ["Withdraw", "Drain", "Stop"]


def test_what_is_under_way_is_no_action_of_the_forecast() -> None:
    world = observed(instance(State.PROBING), old(State.STOPPING))
    assert kinds(desired(deployment()), world) == []


def test_a_long_queue_is_forecast_to_its_end() -> None:
    wanted = desired(deployment(replicas=64), deployment("b", replicas=64))
    assert kinds(wanted, observed(published=("chat", "b")), Policy(max_starting=1)) == ["Start"] * 128


def test_what_would_wait_is_explained_at_the_end_of_the_forecast() -> None:
    found = forecast(desired(deployment(wish=Wish(1))), observed(), NOW, first_fit, POLICY)
    assert found.settled
    assert found.explanations["chat"].reason is Reason.NO_GPU


def test_what_follows_from_what_is_under_way_is_part_of_the_forecast() -> None:
    assert kinds(desired(deployment()), observed(instance(State.PROBING), old())) == ["Drain", "Stop"]
    assert kinds(desired(), observed(instance(State.DRAINING), published=())) == ["Stop"]
    assert kinds(desired(deployment()), observed(instance(), instance(State.STOPPING, ordinal=1))) == []

"""The life of an instance: the table in full, and the arithmetic of back-off."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xserve.core.events import Answered, Drained, Event, Exit, Exited, Loaded, Spawned, Unhealthy
from xserve.core.lifecycle import (
    COMING,
    GOING,
    LIVE,
    Instance,
    Record,
    State,
    advance,
    after_exit,
    back_off,
    describe_exit,
    drain,
    stop,
)
from xserve.core.reasons import Reason
from xserve.core.settings import Restart

LATER = 50.0
POLICY = Restart(initial=1.0, maximum=300.0, give_up_after=8, reset_after=600.0)
MOVES = {
    (State.STARTING, Loaded): State.PROBING,
    (State.STARTING, Answered): State.READY,
    (State.PROBING, Answered): State.READY,
    (State.DRAINING, Drained): State.DRAINED,
    (State.STARTING, Unhealthy): State.UNHEALTHY,
    (State.PROBING, Unhealthy): State.UNHEALTHY,
    (State.READY, Unhealthy): State.UNHEALTHY,
    (State.DRAINING, Unhealthy): State.UNHEALTHY,
}
EVENTS: list[Event] = [Loaded("i"), Answered("i"), Drained("i"), Unhealthy("i", "no answer")]


def one(state: State = State.STARTING, key: str = "i") -> Instance:
    """An instance in a state since second 10."""
    return Instance(key, "chat", "r", 0, state, since=10.0, started=5.0)


# -- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "event"), [*itertools.product(State, EVENTS)])
def test_an_event_moves_as_the_table_says_or_changes_nothing(state: State, event: Event) -> None:
    before = one(state)
    after = advance(before, event, LATER)
    expected = MOVES.get((state, type(event)))
    if expected is None:
        assert after is before
    else:
        assert after is not None
        assert (after.state, after.since, after.started) == (expected, LATER, 5.0)


@pytest.mark.parametrize("state", State)
def test_an_exit_ends_it_in_every_state(state: State) -> None:
    assert advance(one(state), Exited("i", Exit(0)), LATER) is None


@pytest.mark.parametrize("state", State)
def test_a_process_id_is_noted_in_every_state_and_moves_nothing(state: State) -> None:
    assert advance(one(state), Spawned("i", 4711), LATER) == replace(one(state), pid=4711)


@pytest.mark.parametrize("probed", [True, False])
def test_an_answer_tells_since_when_it_is_ready_and_whether_that_was_proved(probed: bool) -> None:
    ready = advance(one(State.PROBING), Answered("i", probed), LATER)
    assert ready is not None
    assert (ready.ready_since, ready.probed, ready.fault) == (LATER, probed, None)


def test_loading_is_not_being_ready() -> None:
    probing = advance(one(), Loaded("i"), LATER)
    assert probing is not None
    assert probing.ready_since is None


def test_an_unhealthy_instance_remembers_why_and_since_when_it_was_ready() -> None:
    sick = advance(replace(one(State.READY), ready_since=20.0), Unhealthy("i", "no answer"), LATER)
    assert sick is not None
    assert (sick.fault, sick.sentence, sick.ready_since) == (Reason.UNHEALTHY, "no answer", 20.0)


def test_the_first_fault_stands() -> None:
    sick = advance(replace(one(), fault=Reason.START_TIMEOUT), Unhealthy("i", "no answer"), LATER)
    assert sick is not None
    assert sick.fault is Reason.START_TIMEOUT


@pytest.mark.parametrize("state", State)
def test_only_a_ready_instance_drains(state: State) -> None:
    after = drain(one(state), LATER)
    if state is State.READY:
        assert after == replace(one(), state=State.DRAINING, since=LATER)
    else:
        assert after == one(state)


@pytest.mark.parametrize("state", [state for state in State if state is not State.STOPPING])
def test_every_state_can_be_told_to_leave(state: State) -> None:
    assert stop(one(state), LATER, None, "not wanted") == replace(
        one(), state=State.STOPPING, since=LATER, sentence="not wanted"
    )


def test_who_was_told_to_leave_keeps_the_first_reason() -> None:
    leaving = stop(one(), LATER, None, "not wanted")
    assert stop(leaving, LATER + 1, Reason.UNHEALTHY, "no answer") is leaving


def test_who_leaves_as_failed_keeps_what_failed() -> None:
    sick = advance(one(State.READY), Unhealthy("i", "no answer"), LATER)
    assert sick is not None
    leaving = stop(sick, LATER, None, "not wanted")
    assert (leaving.fault, leaving.sentence) == (Reason.UNHEALTHY, "no answer")
    assert stop(one(), LATER, Reason.START_TIMEOUT, "too slow").fault is Reason.START_TIMEOUT


def test_every_state_comes_lives_or_goes() -> None:
    assert set(State) == LIVE | GOING
    assert LIVE.isdisjoint(GOING)
    assert set(LIVE) == {State.READY, *COMING}


# -- back-off --------------------------------------------------------------------------------------------------------

POLICIES = st.builds(Restart, initial=st.floats(0.001, 100), maximum=st.floats(0.001, 1000))
SEEDS = st.text(max_size=12)


@given(st.integers(1, 10**6), POLICIES, SEEDS)
def test_the_pause_is_the_doubling_or_up_to_a_fifth_less(failures: int, policy: Restart, seed: str) -> None:
    doubling = min(policy.initial * 2.0 ** min(failures - 1, 200), policy.maximum)
    pause = back_off(failures, policy, seed)
    assert 0.8 * doubling * (1 - 1e-9) <= pause <= doubling
    assert pause <= policy.maximum


@given(st.integers(1, 10**6), POLICIES, SEEDS)
def test_the_pause_of_one_instance_never_gets_shorter(failures: int, policy: Restart, seed: str) -> None:
    assert back_off(failures, policy, seed) <= back_off(failures + 1, policy, seed)


def test_the_first_pauses_double() -> None:
    assert [back_off(failures, POLICY, "") for failures in (1, 2, 3, 9, 10, 5000)] == [1, 2, 4, 256, 300, 300]


def test_replicas_that_fell_together_rise_apart() -> None:
    assert len({back_off(4, POLICY, f"instance-{number}") for number in range(10)}) == 10


# -- what is remembered ----------------------------------------------------------------------------------------------


CRASH = Exit(1)


def remembered(before: Record | None = None, instance: Instance | None = None, how: Exit = CRASH) -> Record | None:
    """What is remembered after an end in second 100; without jitter unless the instance has an id."""
    return after_exit(before, instance or one(key=""), how, 100.0, POLICY, {78: "bad weights"})


def end(before: Record | None = None, instance: Instance | None = None, how: Exit = CRASH) -> Record:
    """The record after an end that must count."""
    record = remembered(before, instance, how)
    assert record is not None
    return record


def failed(failures: int, ever_ready: bool = False) -> Record:
    """A record of some failures."""
    return Record(failures, Reason.CRASHED, "x", 90.0, 95.0, ever_ready, Exit(1))


@pytest.mark.parametrize("before", [None, failed(3)])
def test_leaving_when_told_in_good_health_changes_nothing(before: Record | None) -> None:
    assert remembered(before, stop(one(State.READY), 50.0, None, "not wanted")) is before


def test_a_crash_is_counted_and_tried_again_after_the_pause() -> None:
    record = end()
    assert (record.failures, record.reason, record.at, record.retry_at) == (1, Reason.CRASHED, 100.0, 101.0)
    assert not record.final
    assert record.sentence == "ended by itself with exit code 1"
    assert record.exit == Exit(1)
    again = remembered(replace(record, retry_at=99.0), None, CRASH)
    assert again is not None
    assert (again.failures, again.retry_at) == (2, 102.0)


def test_replicas_that_fall_together_are_one_fall() -> None:
    """Eight replicas whose common cause fails once have not failed eight times."""
    first = end()
    assert end(first).failures == 1
    assert end(replace(first, retry_at=100.0)).failures == 2


def test_being_told_to_drain_does_not_excuse_a_crash() -> None:
    assert end(instance=one(State.DRAINING)).failures == 1


def test_an_exit_code_that_means_never_is_final_at_once() -> None:
    record = end(how=Exit(78, log_tail=("loading", " no such tensor \n")))
    assert record.final
    assert (record.reason, record.sentence) == (Reason.NEVER_STARTS, "bad weights: no such tensor")
    assert end(how=Exit(78)).sentence == "bad weights"
    assert end(how=Exit(79)).reason is Reason.CRASHED


def test_out_of_memory_says_so_and_is_tried_again() -> None:
    record = end(how=Exit(None, 9, out_of_memory=True))
    assert (record.reason, record.sentence) == (Reason.OUT_OF_MEMORY, "the kernel killed it: out of memory")
    assert not record.final


def test_a_start_that_took_too_long_counts_with_its_own_reason() -> None:
    record = end(instance=stop(one(), 50.0, Reason.START_TIMEOUT, "too slow"), how=Exit(78))
    assert (record.reason, record.sentence, record.failures) == (Reason.START_TIMEOUT, "too slow", 1)
    assert not record.final


def test_failures_in_a_row_end_in_giving_up() -> None:
    assert not end(failed(6)).final
    record = end(failed(7))
    assert record.final
    assert (record.reason, record.failures) == (Reason.GAVE_UP, 8)
    assert record.sentence == "gave up after 8 failures in a row; the last: ended by itself with exit code 1"


def test_never_starting_is_not_called_giving_up() -> None:
    assert end(failed(7), how=Exit(78)).reason is Reason.NEVER_STARTS


@pytest.mark.parametrize(("ready_since", "failures"), [(None, 4), (100.0 - 599.9, 4), (100.0 - 600.0, 1)])
def test_a_good_run_clears_the_count(ready_since: float | None, failures: int) -> None:
    record = end(failed(3), replace(one(State.READY, key=""), ready_since=ready_since))
    assert record.failures == failures


@pytest.mark.parametrize(
    ("before", "ready_since", "ever"),
    [(None, None, False), (None, 99.0, True), (failed(1), None, False), (failed(1, ever_ready=True), None, True)],
)
def test_whether_it_was_ever_ready_is_remembered(before: Record | None, ready_since: float | None, ever: bool) -> None:
    assert end(before, replace(one(), ready_since=ready_since)).ever_ready is ever


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Exit(0), "ended by itself with exit code 0"),
        (Exit(None, 11), "ended by signal 11"),
        (Exit(None, 9, sentence="its interpreter is missing"), "its interpreter is missing"),
        (Exit(None), "ended, and nothing is known of how"),
    ],
)
def test_an_end_in_words(how: Exit, words: str) -> None:
    assert describe_exit(how) == words

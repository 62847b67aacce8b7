"""Worlds drawn at random. Only what matters to decisions varies; names are few, so that things collide.

A thing is drawn as one number and unfolded from it (`Folded`): that is many times faster than a draw per field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from xserve.core.desired import Deployment, Desired, Waiting
from xserve.core.exposure import Exposure
from xserve.core.lifecycle import LIVE, Instance, Record, State
from xserve.core.observed import Observed
from xserve.core.ports import Gpu, Wish
from xserve.core.reasons import Reason
from xserve.core.reconcile import Policy

from .worlds import NOW, deployment, desired, instance, record, waiting

UIDS = ("a", "b", "c")
REVISIONS = ("r1", "r2")
EXPOSURES = (Exposure("LLM"), Exposure("LLM", ("alias",), 8))
CARDS = 3
AGES = (0.0, 30.0, 60.0, 599.0, 600.0, 5000.0)
RETRIES = (None, NOW - 1, NOW, NOW + 0.5, NOW + 30)
WISHES = (Wish(), Wish(), Wish(1), Wish(2), Wish(2, (0, 1)), Wish(3, (2, 0, 1)))
T = TypeVar("T")


class Folded:
    """A number that is spent choice by choice; nothing left means the first of everything."""

    def __init__(self, number: int) -> None:
        self._left = number

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        self._left, index = divmod(self._left, len(options))
        return options[index]


FOLDED = st.builds(Folded, st.integers(0, 10**7))


class World(NamedTuple):
    """What a decision is made from."""

    desired: Desired
    observed: Observed
    policy: Policy


def wanted(uid: str, choice: Folded) -> Deployment | Waiting | None:
    """What may be wanted under a name."""
    kind = choice.pick(("deployment", "nothing", "deployment", "waiting"))
    exposure = choice.pick(EXPOSURES)
    if kind == "deployment":
        replicas, revision = choice.pick((1, 0, 2, 3, 3)), choice.pick(REVISIONS)
        return deployment(uid, revision, replicas, wish=choice.pick(WISHES), exposure=exposure)
    return waiting(uid, keep=choice.pick((True, False)), exposure=exposure) if kind == "waiting" else None


def tree(number: int, choice: Folded) -> Instance:
    """A process tree."""
    state = choice.pick((State.READY, State.READY, State.READY, *State))
    new = instance(
        state,
        uid=choice.pick(("a", "a", "a", "b", "gone")),
        revision=choice.pick(REVISIONS),
        ordinal=choice.pick(range(4)),
        since=NOW - choice.pick(AGES),
        gpus=choice.pick(((), (number,))) if number <= CARDS else (),
        number=number,
    )
    if state is State.STOPPING and choice.pick((True, False)):
        return replace(new, fault=Reason.START_TIMEOUT, sentence="too slow")
    return new


def replica_of(each: Instance) -> tuple[str, str, int]:
    """Which replica a tree is."""
    return (each.uid, each.revision, each.ordinal)


def unfold_trees(choices: Sequence[Folded]) -> dict[str, Instance]:
    """Process trees; no replica lives twice, no card is held twice."""
    found: dict[str, Instance] = {}
    live: set[tuple[str, str, int]] = set()
    for number, choice in enumerate(choices):
        new = tree(number, choice)
        if new.state not in LIVE or replica_of(new) not in live:
            found[new.id] = new
            live |= {replica_of(new)} if new.state in LIVE else set()
    return found


def unfold_records(choices: Sequence[Folded]) -> dict[tuple[str, str], Record]:
    """Failures that are remembered."""
    return {
        (each.pick(UIDS), each.pick(REVISIONS)): record(each.pick(RETRIES), each.pick(range(1, 9))) for each in choices
    }


def unfold_wanted(choices: Sequence[Folded]) -> Desired:
    """What is wanted under each name."""
    found = [wanted(uid, choice) for uid, choice in zip(UIDS, choices, strict=True)]
    return desired(*[each for each in found if each is not None])


WANTED = st.builds(unfold_wanted, st.tuples(*[FOLDED] * len(UIDS)))


def unfold(
    wanted: Desired, trees: Sequence[Folded], records: Sequence[Folded], names: Sequence[Folded], rest: Folded
) -> World:
    """A world: what is wanted and what is there, each for itself."""
    gpus = tuple(Gpu(index, "card", 24 << 30) for index in range(rest.pick(range(CARDS + 1))))
    exposures = {each.pick(("a", "b", "gone")): each.pick(EXPOSURES) for each in names}
    observed = Observed(unfold_trees(trees), unfold_records(records), exposures, gpus)
    return World(wanted, observed, Policy(600.0, 60.0, rest.pick((1, 2, 4))))


WORLDS = st.builds(
    unfold,
    WANTED,
    st.lists(FOLDED, max_size=8),
    st.lists(FOLDED, max_size=2),
    st.lists(FOLDED, max_size=3),
    FOLDED,
)

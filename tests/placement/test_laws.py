"""Laws of placement, run on every policy of the package."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xserve.placement
from xserve.core.ports import Gpu, Grant, Placer, Refusal, Wish

NAMES = [each.name for each in pkgutil.iter_modules(xserve.placement.__path__)]
POLICIES: list[Placer] = [getattr(importlib.import_module(f"xserve.placement.{name}"), name) for name in NAMES]
INDICES = st.integers(0, 4)
WISHES = st.one_of(
    st.builds(Wish, st.integers(0, 5)),
    st.lists(INDICES, unique=True, min_size=1, max_size=3).map(lambda found: Wish(len(found), tuple(found))),
)
CARDS = st.lists(INDICES, unique=True).map(lambda found: [Gpu(index, "card", 1) for index in found])
EACH = pytest.mark.parametrize("place", POLICIES, ids=NAMES)


def test_there_is_a_policy() -> None:
    assert "first_fit" in NAMES


@EACH
@given(wish=WISHES, gpus=CARDS, taken=st.lists(INDICES))
def test_a_grant_is_what_was_wished_of_what_is_free(
    place: Placer, wish: Wish, gpus: list[Gpu], taken: list[int]
) -> None:
    answer = place(wish, gpus, taken)
    free = {gpu.index for gpu in gpus} - set(taken)
    if isinstance(answer, Grant):
        assert len(answer.gpus) == len(set(answer.gpus)) == wish.count
        assert set(answer.gpus) <= free
        assert not wish.indices or answer.gpus == wish.indices
    else:
        assert answer.sentence
        assert len(free) < wish.count or not set(wish.indices) <= free


@EACH
@given(wish=WISHES, gpus=CARDS, taken=st.lists(INDICES))
def test_the_order_of_cards_and_of_what_is_taken_does_not_matter(
    place: Placer, wish: Wish, gpus: list[Gpu], taken: list[int]
) -> None:
    assert place(wish, gpus, taken) == place(wish, gpus[::-1], taken[::-1])


@EACH
@given(wish=WISHES, gpus=CARDS, taken=st.lists(INDICES))
def test_what_is_granted_to_one_is_not_granted_to_the_next(
    place: Placer, wish: Wish, gpus: list[Gpu], taken: list[int]
) -> None:
    first = place(wish, gpus, taken)
    if isinstance(first, Refusal):
        return
    second = place(wish, gpus, [*taken, *first.gpus])
    assert isinstance(second, Refusal) or not set(first.gpus) & set(second.gpus)


@EACH
@given(wish=WISHES, gpus=CARDS, taken=st.lists(INDICES))
def test_who_is_refused_is_refused_with_less_too(place: Placer, wish: Wish, gpus: list[Gpu], taken: list[int]) -> None:
    if isinstance(place(wish, gpus, taken), Refusal):
        assert isinstance(place(wish, gpus[1:], taken), Refusal)
        assert isinstance(place(wish, gpus, [*taken, 0]), Refusal)

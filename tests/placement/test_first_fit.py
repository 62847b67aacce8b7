"""First fit, by example."""

from __future__ import annotations

import pytest

from xserve.core.ports import Gpu, Grant, Refusal, Wish
from xserve.placement.first_fit import first_fit

THREE = [Gpu(index, "card", 24 << 30) for index in (2, 0, 1)]


@pytest.mark.parametrize(
    ("wish", "taken", "gpus"),
    [
        (Wish(), [0, 1, 2], ()),
        (Wish(1), [], (0,)),
        (Wish(1), [0], (1,)),
        (Wish(2), [1], (0, 2)),
        (Wish(3), [], (0, 1, 2)),
        (Wish(2, (2, 0)), [1], (2, 0)),
        (Wish(1), [7], (0,)),
    ],
)
def test_the_lowest_free_cards_are_granted_or_the_very_ones(
    wish: Wish, taken: list[int], gpus: tuple[int, ...]
) -> None:
    assert first_fit(wish, THREE, taken) == Grant(gpus)


@pytest.mark.parametrize(
    ("wish", "taken", "sentence"),
    [
        (Wish(1), [0, 1, 2], "needs 1 GPU; this machine has 3, 0 free"),
        (Wish(3), [1, 1], "needs 3 GPUs; this machine has 3, 2 free"),
        (Wish(4), [], "needs 4 GPUs; this machine has 3, 3 free"),
        (Wish(1, (5,)), [], "wants GPU 5; this machine has 3 GPUs"),
        (Wish(2, (0, 1)), [1], "wants GPU 1, which another replica has"),
        (Wish(2, (1, 9)), [1], "wants GPU 9; this machine has 3 GPUs"),
    ],
)
def test_a_refusal_says_what_is_missing(wish: Wish, taken: list[int], sentence: str) -> None:
    assert first_fit(wish, THREE, taken) == Refusal(sentence)


def test_a_machine_without_cards_grants_what_needs_none() -> None:
    assert first_fit(Wish(), [], []) == Grant(())
    assert first_fit(Wish(1), [], []) == Refusal("needs 1 GPU; this machine has 0, 0 free")

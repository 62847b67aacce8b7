"""First fit: the cards with the fewest replicas on them, lowest index first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xserve.core.ports import Gpu, Grant, Refusal, Wish


def first_fit(wish: Wish, gpus: Sequence[Gpu], taken: Sequence[int]) -> Grant | Refusal:
    """Grant free cards only: no card is given twice. A wish without cards is always granted."""
    if wish.count == 0:
        return Grant(())
    known = {gpu.index for gpu in gpus}
    load = Counter(taken)
    free = [index for index in sorted(known) if not load[index]]
    if wish.indices:
        return _these(wish, known, free)
    if len(free) < wish.count:
        return Refusal(f"needs {_cards(wish.count)}; this machine has {len(known)}, {len(free)} free")
    return Grant(tuple(free[: wish.count]))


def _these(wish: Wish, known: set[int], free: list[int]) -> Grant | Refusal:
    absent = [index for index in wish.indices if index not in known]
    if absent:
        return Refusal(f"wants GPU {absent[0]}; this machine has {_cards(len(known))}")
    busy = [index for index in wish.indices if index not in free]
    if busy:
        return Refusal(f"wants GPU {busy[0]}, which another replica has")
    return Grant(wish.indices)


def _cards(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"

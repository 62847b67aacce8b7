"""What every library script here does: load, say `ready`, and compute as asked, line by line.

Each line of stdin is `{"at_once": n, "seconds": s, "requests": [...]}`: n requests are computed in one call, as many
times as the seconds allow. Answered by the items per second: texts, pairs, tokens, whatever the script counts.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

Compute = Callable[[list[Any]], int]  # requests -> items


def answer(compute: Compute) -> None:
    """Answer until stdin ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(rate(compute, **json.loads(line)), flush=True)


def each(compute: Callable[[Any], object]) -> Compute:
    """For what is computed one request at a time, and counted so."""

    def one_by_one(requests: list[Any]) -> int:
        for request in requests:
            compute(request)
        return len(requests)

    return one_by_one


def rate(compute: Compute, at_once: int, seconds: float, requests: list[Any]) -> float:
    """Items per second."""
    endless = itertools.cycle(requests)
    done, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        done += compute(list(itertools.islice(endless, at_once)))
    return done / (time.perf_counter() - began)

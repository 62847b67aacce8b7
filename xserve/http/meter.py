"""What is counted per model, in plain integers: a request costs two list increments and no lock.

`metrics.TrafficCollector` turns the figures into Prometheus families when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the buckets in seconds: from a cached embedding to a long generation."""


class Histogram:
    """Durations in seconds, counted in buckets."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound, how many were not longer), ending with "+Inf", as Prometheus wants it."""
        names = [*map(str, BOUNDS), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


class Meter:
    """The figures of one model."""

    __slots__ = ("duration", "first_byte", "requests")

    def __init__(self) -> None:
        self.requests: dict[str, int] = {}  # by class of status: "2xx", ..., "gone" (the client left)
        self.first_byte = Histogram()
        self.duration = Histogram()

    def count(self, outcome: str, seconds: float) -> None:
        """One request ended as `outcome` after `seconds`."""
        self.requests[outcome] = self.requests.get(outcome, 0) + 1
        self.duration.observe(seconds)

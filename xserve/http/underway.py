"""Requests in flight by their id, so that somebody else can ask how far one is.

Here are all that bear an id in the member or field `request_id`, and those for images, which go by the header
X-Request-Id as well. Of requests that somebody has asked about, good ends are remembered for a while: who looks
again learns that it is done, and not that it never was.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

REMEMBERED = 256
"""Ends that are remembered; the oldest goes first."""


@dataclass(slots=True)
class Errand:
    """One request, on its way or done."""

    request_id: str
    address: str  # of the engine that has it
    began: float  # on the monotonic clock
    took: float | None = None  # seconds until its good end; None: in flight
    watched: bool = False  # somebody has asked about it

    @property
    def elapsed(self) -> float:
        """Seconds since it began, at most until it ended."""
        return monotonic() - self.began if self.took is None else self.took


class Underway:
    """Requests in flight that may be asked about. Where two bear one id, the later one is found."""

    def __init__(self) -> None:
        self._now: dict[str, Errand] = {}
        self._done: OrderedDict[str, Errand] = OrderedDict()

    def begin(self, request_id: str, address: str) -> Errand:
        """An engine is about to be asked; to be followed by `end`."""
        errand = self._now[request_id] = Errand(request_id, address, monotonic())
        return errand

    def end(self, errand: Errand, *, well: bool) -> None:
        """The request has ended; `well`: it was answered."""
        if self._now.get(errand.request_id) is errand:
            del self._now[errand.request_id]
        if errand.watched and well:
            errand.took = errand.elapsed
            self._done[errand.request_id] = errand
            while len(self._done) > REMEMBERED:
                self._done.popitem(last=False)

    def find(self, request_id: str) -> Errand | None:
        """The request with this id: in flight, or ended well and remembered."""
        errand = self._now.get(request_id)
        if errand is None:
            return self._done.get(request_id)
        errand.watched = True
        return errand

"""Counts of calls, kept by several threads and read as Prometheus text."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from xserve_engine.flexible import WrongInput


class Failed(Exception):
    """The model's own code raised; the cause is what it raised."""


class Tally:
    """Calls waiting and under way, answered and failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter({"processing": 0, "waiting": 0, "answered_total": 0, "failed_total": 0})

    def add(self, **changes: int) -> None:
        """Change several counts at once."""
        with self._lock:
            self._counts.update(changes)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """A call under way. Turns what the model's code raises into `Failed`."""
        self.add(processing=1)
        try:
            yield
            self.add(answered_total=1)
        except WrongInput:
            raise
        except (Exception, SystemExit) as error:  # code that leaves its interpreter fails its call, not the engine
            self.add(failed_total=1)
            raise Failed(f"The model failed: {type(error).__name__}: {error}") from error
        finally:
            self.add(processing=-1)

    def metrics(self) -> bytes:
        """Prometheus text."""
        with self._lock:
            counts = dict(self._counts)
        return "".join(_metric(f"flexible_requests_{name}", count) for name, count in counts.items()).encode()


def _metric(name: str, value: int) -> str:
    kind = "counter" if name.endswith("_total") else "gauge"
    return f"# TYPE {name} {kind}\n{name} {value}\n"

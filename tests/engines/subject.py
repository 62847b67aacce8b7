"""What a test must know of an engine to hold it against the contract, and to foretell its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

PROMPT = "The capital of France is"
WORD = " Paris"  # what a completion of the prompt goes on with; the fake echoes it
LONG = "All work and no play makes Jack a dull boy. " * 600  # about 6,600 tokens: a minute on one thread


@dataclass(frozen=True, slots=True)
class Subject:
    """One engine, backend and model type. `roster/` has a module per engine with its subjects."""

    engine: str
    type: str
    gauge: str  # the metric that counts requests being worked on
    backend: str | None = None
    variant: str = ""  # tells two subjects of one engine, backend and type apart
    python: str = ""  # interpreter that runs it; "": the tests' own
    weights: str = ""
    format: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    launch: Mapping[str, Any] = field(default_factory=dict)  # further members of the launch file
    missing: str = ""  # why it cannot be tried here
    word_id: int = 0  # the token id of `WORD`
    prompt: str = PROMPT  # what is answered with `WORD`
    endless: Mapping[str, Any] = field(default_factory=dict)  # makes an answer go on and on
    silent: Mapping[str, Any] = field(default_factory=dict)  # makes the first byte come late
    noticed: str = ""  # what its log says once it notices a departure; "": its metrics tell
    slow_load: Mapping[str, Any] = field(default_factory=dict)  # options that make loading last
    batches: bool = True
    heavy: bool = False  # takes so long to start that only --long starts it afresh for a test
    long: bool = False  # so long that only --long starts it at all
    patience: float = 60.0  # seconds that a start may take on a busy machine

    @property
    def id(self) -> str:
        return "-".join(filter(None, (self.engine, self.backend, self.type, self.variant)))

    def marks(self) -> list[pytest.MarkDecorator]:
        """A skip with its reason where something is not installed, and time for a test that starts it."""
        if self.missing:
            return [pytest.mark.skip(reason=self.missing)]
        return [pytest.mark.timeout(120 + 2 * self.patience)]  # some tests start it twice

    def but(self, **changes: Any) -> Subject:
        """The same with changes; mappings are merged."""
        merged = {
            name: {**getattr(self, name), **value} if isinstance(value, Mapping) else value
            for name, value in changes.items()
        }
        return replace(self, **merged)

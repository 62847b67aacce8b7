"""Hypothesis profiles, chosen by XSERVE_HYPOTHESIS; and snapshots, rewritten with --rewrite-snapshots.

`default` draws the same examples every time, so that a red build is red for everybody; `long` looks for new ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machine may be busy: no example is ever judged by its time.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}

settings.register_profile("default", derandomize=True, database=None, max_examples=200, **_CALM)
settings.register_profile("long", max_examples=5000, **_CALM)
settings.load_profile(os.environ.get("XSERVE_HYPOTHESIS", "default"))

_SNAPSHOTS = Path(__file__).parent / "snapshots"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run what takes minutes, too")
    parser.addoption("--rewrite-snapshots", action="store_true", help="write tests/snapshots/* anew")


@pytest.fixture
def matches_snapshot(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the committed file of that name, or write it."""

    def compare(name: str, text: str) -> None:
        path = _SNAPSHOTS / name
        if request.config.getoption("--rewrite-snapshots"):
            path.write_text(text)
        assert text == path.read_text(), f"{name} has changed; if that is meant: pytest --rewrite-snapshots"

    return compare

"""The name of an environment: another one for everything that makes it another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from xserve.core.environment import Environment

ONE = Environment("native", "b", ("toy==1.0", "other==2.0"), ("extra",), "cpython-311-x86_64")


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "another"},
        {"backend": "c"},
        {"packages": ("toy==1.1", "other==2.0")},
        {"packages": ("toy==1.0",)},
        {"without": ()},
        {"platform": "cpython-312-x86_64"},
        {"packages": ("toy==1.0",), "without": ("other==2.0", "extra")},
    ],
)
def test_whatever_changes_it_changes_its_name(change: dict[str, Any]) -> None:
    assert replace(ONE, **change).name != ONE.name


def test_its_name_says_whose_it_is_and_is_the_same_everywhere() -> None:
    """A name that changed from one release to the next would make every environment anew."""
    assert ONE.name == replace(ONE).name == "native-dbb5572e4ee2"

"""The six templates of Xinference's custom-model page are definitions as they stand."""

from __future__ import annotations

from typing import Any

import pytest

from xserve.core.judge import judge, kind_of

from .samples import TYPES, accepted, template

EACH = pytest.mark.parametrize(("name", "model_type"), TYPES.items())


def contains(value: Any, said: Any) -> bool:
    """Whether everything that was said is in the value, at its place; the value may say more."""
    if isinstance(said, dict):
        return all(key in value and contains(value[key], inner) for key, inner in said.items())
    if isinstance(said, list):
        return len(value) == len(said) and all(map(contains, value, said))
    return bool(value == said)


@EACH
def test_a_template_is_accepted_without_a_remark_and_its_type_is_inferred(name: str, model_type: str) -> None:
    verdict = judge(kind_of(template(name)), template(name))

    assert verdict.kind == "model"
    assert verdict.faults == ()
    assert verdict.value is not None
    assert verdict.value["model_type"] == model_type


@EACH
def test_a_template_with_its_type_given_says_the_same(name: str, model_type: str) -> None:
    assert accepted(template(name, model_type=model_type)) == accepted(template(name))


@EACH
def test_what_a_template_says_is_kept(name: str, model_type: str) -> None:
    assert contains(accepted(template(name)), template(name))


@EACH
def test_an_accepted_value_is_accepted_again_unchanged(name: str, model_type: str) -> None:
    value = accepted(template(name))
    assert accepted(value) == value

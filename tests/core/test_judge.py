"""Judging any document: its kind is told by content, and nothing makes the judge stumble."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xserve.core.judge import judge, kind_of
from xserve.core.problems import Problem, Severity, has_errors

from .samples import TYPES, errors, template

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"model_name": "x"}, "model"),
        ({"model_name": "x", "models": {}, "host": "y"}, "model"),
        ({"version": 1, "models": {}}, "deploy"),
        ({"version": 1, "defaults": {}}, "deploy"),
        ({"models": None, "port": 1}, "deploy"),
        ({"version": 1, "port": 1}, "settings"),
        ({"restart": {}}, "settings"),
        ({"version": 2}, "model"),
        ({"version": 2, "context_length": 1}, "model"),
        ({}, "model"),
        ([], "model"),
        ("text", "model"),
        (None, "model"),
    ],
)
def test_the_kind_is_told_by_content(document: Any, kind: str) -> None:
    assert kind_of(document) == kind


@pytest.mark.parametrize(
    ("kind", "what"), [("model", "a model definition"), ("deploy", "a deploy file"), ("settings", "a settings file")]
)
@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_what_is_no_mapping_is_one_fault(kind: str, what: str, document: Any) -> None:
    verdict = judge(kind, document)
    assert verdict.value is None
    assert errors(verdict) == [((), f"must be a mapping of keys to values: this is not {what}")]


def somewhere(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """A template with any JSON in place of one or two of its values, or in its spec."""
    document = template(name)
    broken = st.dictionaries(st.sampled_from([*document, "version", "model_type", "quantizations"]), JSON, max_size=2)
    spec = document.get("model_specs", [{}])[0]
    worse = st.dictionaries(st.sampled_from([*spec, "quantizations"]), JSON, max_size=1) if spec else st.just({})
    return st.builds(lambda one, two: {**document, "model_specs": [{**spec, **two}], **one}, broken, worse)


def check_verdict(kind: str, document: Any) -> None:
    """What holds of every verdict."""
    verdict = judge(kind, document)
    assert (verdict.value is None) == any(fault.severity is Severity.ERROR for fault in verdict.faults)
    assert all(fault.message and "\n" not in fault.message for fault in verdict.faults)
    assert len({(fault.path, fault.message) for fault in verdict.faults}) == len(verdict.faults)
    if verdict.value is not None:
        assert judge(kind, verdict.value).value == verdict.value


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=settings().max_examples // 3)
@given(data=st.data())
def test_the_judge_never_stumbles_over_a_definition(name: str, data: st.DataObject) -> None:
    check_verdict("model", data.draw(somewhere(name)))


@given(
    st.fixed_dictionaries(
        {"version": st.just(1)},
        optional={
            "defaults": JSON,
            "models": JSON
            | st.dictionaries(
                st.sampled_from(["chat", "a b", "[key]"]),
                st.dictionaries(
                    st.sampled_from(["gpus", "env", "aliases", "options", "replicas", "size", "lora"]), JSON, max_size=3
                ),
                max_size=2,
            ),
        },
    )
)
def test_the_judge_never_stumbles_over_a_deploy_file(document: dict[str, Any]) -> None:
    check_verdict("deploy", document)


@given(st.dictionaries(st.sampled_from(["version", "restart", "port", "resync", "uds", "watch", "x"]), JSON))
def test_the_judge_never_stumbles_over_settings(document: dict[str, Any]) -> None:
    check_verdict("settings", document)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("a.yaml", 3, 5, "model_specs.0", "is wrong"), "a.yaml:3:5: model_specs.0: is wrong"),
        (Problem("a.yaml", 0, 0, "", "is empty"), "a.yaml: is empty"),
        (Problem("a.yaml", 1, 1, "x", "is odd", Severity.WARNING), "a.yaml:1:1: warning: x: is odd"),
    ],
)
def test_a_problem_is_one_line_that_editors_can_jump_to(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_a_problem_can_be_told_for_another_path() -> None:
    assert str(Problem("tmpab12", 1, 2, "x", "is wrong").at("chat.yaml")) == "chat.yaml:1:2: x: is wrong"


def test_only_errors_keep_a_document_out() -> None:
    warning = Problem("a", 0, 0, "", "x", Severity.WARNING)
    assert not has_errors([warning])
    assert has_errors((warning, Problem("a", 0, 0, "", "x")))
    assert not has_errors([])

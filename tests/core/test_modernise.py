"""Version 1: every quantisation becomes a spec, and a fault is reported where the person wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from xserve.core.judge import judge

from .samples import accepted, errors, only_error, template, warnings, without


def first_version(**spec: Any) -> dict[str, Any]:
    """An LLM of version 1 with one spec."""
    old = {
        "model_format": "pytorch",
        "model_size_in_billions": 7,
        "quantizations": ["4-bit", "none"],
        "model_id": "o/x",
    }
    return template("llm", version=1, model_specs=[{**old, **spec}])


def test_every_quantisation_becomes_a_spec_of_its_own_in_order() -> None:
    value = accepted(first_version())
    assert value["version"] == 2
    assert [spec["quantization"] for spec in value["model_specs"]] == ["4-bit", "none"]
    assert {spec["model_id"] for spec in value["model_specs"]} == {"o/x"}
    assert all("quantizations" not in spec for spec in value["model_specs"])


def test_several_specs_keep_their_order() -> None:
    document = first_version()
    (first,) = document["model_specs"]
    document["model_specs"] = [first, {**first, "model_size_in_billions": 14, "quantizations": ["8-bit"]}]
    found = [(each["model_size_in_billions"], each["quantization"]) for each in accepted(document)["model_specs"]]
    assert found == [("7", "4-bit"), ("7", "none"), ("14", "8-bit")]


def test_the_quantisation_is_filled_into_the_path() -> None:
    value = accepted(
        first_version(model_uri="/w/x-{quantization}.gguf", model_format="ggufv2", quantizations=["Q4", 8])
    )
    assert [spec["model_uri"] for spec in value["model_specs"]] == ["/w/x-Q4.gguf", "/w/x-8.gguf"]


def test_a_fault_is_reported_once_in_the_spec_that_was_written() -> None:
    document = first_version()
    document["model_specs"] = [*document["model_specs"], {**document["model_specs"][0], "model_size_in_billions": "x"}]
    assert only_error(document)[0] == ("model_specs", 1, "model_size_in_billions")


def test_a_fault_in_a_quantisation_is_reported_at_the_list() -> None:
    assert only_error(first_version(quantizations=["none", None]))[0] == ("model_specs", 0, "quantizations")


def test_a_fault_in_a_single_quantisation_is_reported_at_its_key() -> None:
    document = first_version(quantization=[])
    document["model_specs"] = [without(document["model_specs"][0], "quantizations")]
    assert only_error(document)[0] == ("model_specs", 0, "quantization")


def test_a_remark_on_a_spec_is_made_once() -> None:
    assert [path for path, _ in warnings(judge("model", first_version(my_note=1)))] == [("model_specs", 0, "my_note")]


@pytest.mark.parametrize("quantizations", [[], None, "4-bit"])
def test_a_spec_without_any_quantisation_is_not_dropped(quantizations: Any) -> None:
    document = first_version()
    document["model_specs"] = [*document["model_specs"], {**document["model_specs"][0], "quantizations": quantizations}]
    assert only_error(document) == (("model_specs", 1), "the required key 'quantization' is missing")


@pytest.mark.parametrize("specs", [None, {}, "x"])
def test_specs_that_are_no_list_are_named(specs: Any) -> None:
    assert only_error(template("llm", version=1, model_specs=specs))[0] == ("model_specs",)


def test_a_spec_that_is_no_mapping_is_named() -> None:
    assert only_error(template("llm", version=1, model_specs=["x"]))[0] == ("model_specs", 0)


@pytest.mark.parametrize("name", ["embedding", "rerank"])
def test_a_source_at_the_top_becomes_the_only_spec(name: str) -> None:
    document = without(template(name, version=1, model_id="o/x", model_revision="abc"), "model_specs")
    value = accepted({**document, "model_type": name})
    (spec,) = value["model_specs"]
    assert (spec["model_id"], spec["model_revision"], spec["model_format"]) == ("o/x", "abc", "pytorch")
    assert "model_id" not in value


def test_a_fault_in_a_source_at_the_top_is_reported_there() -> None:
    document = without(template("embedding", version=1), "model_specs")
    assert only_error({**document, "model_uri": "relative"})[0] == ("model_uri",)
    assert only_error(document)[0] == ()


def test_stops_of_a_prompt_style_are_taken_over_unless_given() -> None:
    style = {"stop": ["<|end|>"], "stop_token_ids": [2]}
    value = accepted({**first_version(), "prompt_style": style})
    assert (value["stop"], value["stop_token_ids"]) == (["<|end|>"], [2])
    value = accepted({**first_version(), "prompt_style": style, "stop": ["own"]})
    assert (value["stop"], value["stop_token_ids"]) == (["own"], [2])


def test_a_flexible_model_of_version_one_is_the_same_as_of_version_two() -> None:
    assert accepted(template("flexible", version=1)) == accepted(template("flexible"))


def test_the_document_that_is_judged_is_left_as_it_was() -> None:
    document = {**first_version(), "prompt_style": {"stop": ["x"]}}
    before = repr(document)
    judge("model", document)
    assert repr(document) == before


def test_faults_outside_the_specs_stay_where_they_are() -> None:
    verdict = judge("model", {**first_version(), "model_name": "a b"})
    assert [path for path, _ in errors(verdict)] == [("model_name",)]

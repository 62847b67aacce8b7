"""Options against the schema of an engine."""

from __future__ import annotations

from typing import Any

import pytest

from xserve.core.options import option_faults

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "max_model_len": {"type": "integer", "minimum": 1},
        "dtype": {"enum": ["auto", "float16"]},
        "rope": {"type": "object", "additionalProperties": False, "properties": {"factor": {"type": "number"}}},
        "stops": {"type": "array", "items": {"type": "string"}},
    },
}


@pytest.mark.parametrize(
    "options", [{}, {"max_model_len": 8192}, {"dtype": "auto", "rope": {"factor": 2}, "stops": ["a", "b"]}]
)
def test_what_the_schema_allows_is_no_fault(options: dict[str, Any]) -> None:
    assert option_faults(options, SCHEMA) == []


@pytest.mark.parametrize(
    ("options", "place", "sentence"),
    [
        ({"max_model_length": 1}, ("max_model_length",), "did you mean 'max_model_len'?"),
        ({"zzz": 1}, ("zzz",), "valid are max_model_len, dtype, rope, stops"),
        ({"max_model_len": "8192"}, ("max_model_len",), "'8192' is not of type 'integer'"),
        ({"max_model_len": 0}, ("max_model_len",), "0 is less than the minimum of 1"),
        ({"dtype": "float8"}, ("dtype",), "'float8' is not one of ['auto', 'float16']"),
        ({"rope": {"factr": 1}}, ("rope",), "'factr' was unexpected"),
        ({"rope": {"factor": "x"}}, ("rope", "factor"), "is not of type 'number'"),
        ({"stops": ["a", 1]}, ("stops", 1), "1 is not of type 'string'"),
    ],
)
def test_a_fault_names_its_place(options: dict[str, Any], place: tuple[str | int, ...], sentence: str) -> None:
    ((found, message),) = option_faults(options, SCHEMA)
    assert found == place
    assert sentence in message


def test_every_unknown_option_is_told() -> None:
    found = option_faults({"a": 1, "dtype": "auto", "b": 1}, SCHEMA)
    assert [place for place, _ in found] == [("a",), ("b",)]


def test_an_engine_without_options_says_so() -> None:
    schema = {"type": "object", "additionalProperties": False, "properties": {}}
    assert option_faults({"a": 1}, schema) == [(("a",), "unknown option 'a'; there are no options")]


def test_options_that_are_required_are_asked_for_even_if_none_is_given() -> None:
    schema = {"type": "object", "required": ["port"], "properties": {"port": {}}}
    assert option_faults({}, schema) == [((), "'port' is a required property")]
    assert option_faults({"port": 1}, schema) == []

"""Answers keep to a JSON schema even where the model has no idea of one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ..weights import model
from .harness import ENGINES
from .interpreters import interpreter

SCRIPT = Path(__file__).parent / "constrained.py"
CALL = {
    "type": "object",
    "properties": {"name": {"const": "now"}, "arguments": {"type": "object", "additionalProperties": False}},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
HONOURED: list[Any] = [
    {"type": "boolean"},
    {"type": "integer", "minimum": 3, "maximum": 7},
    {"enum": ["red", "green", 5]},
    {"type": "string", "pattern": "^[a-c]{2,4}$"},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"$ref": "#/$defs/age"}},
        "required": ["name", "age"],
        "additionalProperties": False,
        "$defs": {"age": {"type": "integer", "minimum": 0, "maximum": 120}},
    },
    {"type": "array", "items": {"anyOf": [CALL]}, "minItems": 1, "maxItems": 1},
    {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
]
REFUSED: list[Any] = [
    {"type": "nonsense"},
    {"type": "string", "pattern": "("},
    {"$ref": "https://example.org/schema"},
    {"not": {"type": "string"}},
    {"type": "array", "uniqueItems": True},
]


@pytest.fixture(scope="module")
def answers() -> list[dict[str, str]]:
    """Of the schemas that are honoured, those that are refused, and none."""
    python, lacking = interpreter("transformers")
    weights, problem = model("smollm2-hf")
    if lacking or problem:
        pytest.skip(lacking or problem)
    command = [python, str(SCRIPT), str(ENGINES / "transformers"), weights]
    asked = json.dumps([*HONOURED, *REFUSED, None])
    told = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("place", range(len(HONOURED)), ids=[json.dumps(one)[:40] for one in HONOURED])
def test_an_answer_keeps_to_its_schema(answers: list[dict[str, str]], place: int) -> None:
    jsonschema.validate(json.loads(answers[place]["text"]), HONOURED[place])


@pytest.mark.parametrize("place", range(len(REFUSED)), ids=[json.dumps(one)[:40] for one in REFUSED])
def test_a_schema_that_cannot_be_honoured_is_refused_in_a_sentence(answers: list[dict[str, str]], place: int) -> None:
    """Nothing in a schema is passed over in silence."""
    assert answers[len(HONOURED) + place]["refused"].startswith("The JSON schema cannot be honoured: ")


def test_without_a_schema_the_answer_is_a_json_object(answers: list[dict[str, str]]) -> None:
    assert isinstance(json.loads(answers[-1]["text"]), dict)

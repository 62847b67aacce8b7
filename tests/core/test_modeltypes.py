"""The model type is told by marker keys, in a fixed order."""

from __future__ import annotations

from typing import Any

import pytest

from xserve.core.definition import KINDS
from xserve.core.judge import judge
from xserve.core.modeltypes import MODEL_TYPES, infer

from .samples import errors, only_error, template

ROWS: list[tuple[dict[str, Any], str | None]] = [
    ({"launcher": "a.B"}, "flexible"),
    ({"launcher": "a.B", "context_length": 8, "dimensions": 8, "multilingual": True}, "flexible"),
    ({"context_length": 8}, "LLM"),
    ({"context_length": None}, "LLM"),
    ({"context_length": 8, "dimensions": 8}, "LLM"),
    ({"model_lang": ["en"]}, "LLM"),
    ({"model_ability": ["generate"]}, "LLM"),
    ({"model_ability": ["vision", "chat"], "dimensions": 8}, "LLM"),
    ({"model_ability": ["chat"], "multilingual": True}, "LLM"),
    ({"model_lang": ["en"], "multilingual": True}, "audio"),
    ({"dimensions": 8}, "embedding"),
    ({"dimensions": 8, "multilingual": True}, "embedding"),
    ({"multilingual": False}, "audio"),
    ({"multilingual": False, "controlnet": [], "model_family": "x"}, "audio"),
    ({"controlnet": []}, "image"),
    ({"controlnet": None, "model_specs": [], "language": ["en"]}, "image"),
    ({"model_family": "stable_diffusion"}, "image"),
    ({"model_family": "x", "model_specs": [], "language": ["en"]}, "rerank"),
    ({"model_specs": [], "language": ["en"]}, "rerank"),
    ({"model_specs": []}, None),
    ({"model_ability": ["text2image"]}, None),
    ({"model_ability": "chat"}, None),
    ({"model_ability": None}, None),
    ({}, None),
]


@pytest.mark.parametrize(("keys", "model_type"), ROWS)
def test_marker_keys_tell_the_type(keys: dict[str, Any], model_type: str | None) -> None:
    assert infer(keys) == model_type
    assert infer({"model_name": "x", **keys}) == model_type


def test_every_model_type_has_a_row_and_a_definition() -> None:
    assert list(MODEL_TYPES) == list(KINDS)


def test_a_type_that_cannot_be_told_says_which_key_to_add() -> None:
    path, message = only_error({"model_name": "x"})
    assert path == ()
    assert "add the key model_type" in message
    assert all(name in message for name in MODEL_TYPES)


@pytest.mark.parametrize("given", ["video", "LLm", 7, ["LLM"], {"LLM": 1}])
def test_an_unknown_type_is_one_error_at_its_key(given: Any) -> None:
    path, message = only_error(template("llm", model_type=given))
    assert path == ("model_type",)
    assert message.startswith(f"unknown model type {given!r}; ")


def test_a_given_type_is_believed() -> None:
    verdict = judge("model", template("llm", model_type="embedding"))
    missing = [f"the required key {key!r} is missing" for key in ("dimensions", "max_tokens", "language")]
    assert errors(verdict) == [((), message) for message in missing]

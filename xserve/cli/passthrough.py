"""Reads the `--key value` pairs that a launch hands to its engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from xserve.cli.command import CommandError, Exit

_SPELT_IN_PYTHON = {"True": True, "False": False, "None": None}


def engine_options(words: Sequence[str]) -> dict[str, Any]:
    """`--max-model-len 8192 --dtype=auto` -> {"max_model_len": 8192, "dtype": "auto"}. Raises CommandError (usage)."""
    options: dict[str, Any] = {}
    for key, text in _pairs(words):
        if key in options:
            raise CommandError(f"--{key.replace('_', '-')} is given twice.", Exit.USAGE)
        options[key] = read_value(text)
    return options


def read_value(text: str) -> Any:
    """A number, true, false or null; every other text as it stands."""
    if text in _SPELT_IN_PYTHON:
        return _SPELT_IN_PYTHON[text]
    try:
        value = json.loads(text, parse_constant=lambda _: text)
    except ValueError:
        return text
    return text if isinstance(value, list | dict | str) else value


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        if not word.startswith("--") or word == "--":
            raise CommandError(
                f"{word!r} is not an option; options for the engine are written --key value.", Exit.USAGE
            )
        name, equals, text = word[2:].partition("=")
        value = text if equals else next(rest, None)
        if value is None or (not equals and value.startswith("--")):
            raise CommandError(f"--{name} has no value; options for the engine are written --key value.", Exit.USAGE)
        yield name.replace("-", "_"), value

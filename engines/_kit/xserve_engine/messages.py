"""Messages as clients send them, in the form that a chat template reads.

Two things differ from template to template, and only trying tells which: whether `content` may be a list of
parts, and whether it may be a plain string. The arguments of earlier tool calls come as JSON text and are
wanted as objects, so that a template can write them in its own way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEEDLE = "needle"


@dataclass(frozen=True, slots=True)
class Form:
    """Which contents a template reads."""

    strings: bool = True
    parts: bool = True


def find_form(render: Callable[[list[dict[str, Any]]], str]) -> Form:
    """The form that `render`, which may raise anything, puts whole into a prompt."""

    def reads(content: Any) -> bool:
        try:
            prompt = render([{"role": "user", "content": content}])
        except Exception:
            return False
        return NEEDLE in prompt and "'text'" not in prompt and '"text"' not in prompt

    parts = reads([{"type": "text", "text": NEEDLE}])
    return Form(strings=reads(NEEDLE) or not parts, parts=parts)


def adapt(messages: Sequence[Mapping[str, Any]], form: Form) -> list[dict[str, Any]]:
    """The messages in this form. Raises ValueError for a message that is no object."""
    if not all(isinstance(message, Mapping) for message in messages):
        raise ValueError("Each message must be an object with a role and a content.")
    return [_with_calls(_with_content(dict(message), form)) for message in messages]


def _with_content(message: dict[str, Any], form: Form) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list) and not form.parts:
        message["content"] = "\n".join(_text(part) for part in content)
    if isinstance(content, str) and not form.strings:
        message["content"] = [{"type": "text", "text": content}]
    return message


def _text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type") == "text":
        return str(part.get("text", ""))
    raise ValueError("This model's chat template takes text alone; a message brings a part of another type.")


def _with_calls(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [_with_arguments(call) for call in calls]
    return message


def _with_arguments(call: Any) -> Any:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping):
        raise ValueError("Each of a message's tool_calls must be an object with a function.")
    function = dict(call["function"])
    if isinstance(function.get("arguments"), str):
        function["arguments"] = _object(function["arguments"])
    return {**call, "function": function}


def _object(text: str) -> Any:
    """The JSON object in the text; the text where it holds none."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return text
    return value if isinstance(value, dict) else text

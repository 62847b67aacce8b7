"""Messages as clients send them, in the form that a chat template reads.

Templates differ, and only trying tells how: some read a `content` that is a plain string, some one that is a list
of parts, some both. In an earlier message that only called tools, some want a content that is none and some an
empty one; its arguments, which clients send as JSON text, are wanted as that text by some and as an object by most.
Each template is therefore tried, once, on short conversations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEEDLE = "needle"
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """What a template reads."""

    strings: bool = True  # a content that is a string
    parts: bool = True  # a content that is a list of parts
    objects: bool = True  # arguments of a tool call that are an object, not JSON text
    empty: str | None = ""  # the content of a message that only calls


def find_form(render: Callable[[list[Message]], str]) -> Form:
    """The form that `render`, which may raise anything, puts whole into a prompt."""

    def reads(messages: list[Message], *raw: str) -> bool:
        """Whether the needle is in the prompt, and not because a value was printed raw."""
        try:
            prompt = render(messages)
        except Exception:
            return False
        return NEEDLE in prompt and not any(trace in prompt for trace in raw)

    parts = reads([_asking([{"type": "text", "text": NEEDLE}])], "'text'", '"text"')
    strings = reads([_asking(NEEDLE)]) or not parts
    ways = ((objects, empty) for objects in (True, False) for empty in (None, ""))
    readable = (way for way in ways if reads(_called(*way), f"'{NEEDLE}'"))
    objects, empty = next(readable, (True, ""))
    return Form(strings, parts, objects, empty)


def _asking(content: Any) -> Message:
    return {"role": "user", "content": content}


def _called(objects: bool, content: str | None) -> list[Message]:
    """A conversation in which a tool was called and answered."""
    arguments = {NEEDLE: 1} if objects else f'{{"{NEEDLE}": 1}}'
    call = {"id": "123456789", "type": "function", "function": {"name": "tool", "arguments": arguments}}
    answer = {"role": "tool", "tool_call_id": call["id"], "name": "tool", "content": "!"}
    return [_asking("?"), {"role": "assistant", "content": content, "tool_calls": [call]}, answer]


def adapt(messages: Sequence[Mapping[str, Any]], form: Form) -> list[Message]:
    """The messages in this form. Raises ValueError for a message that is no object."""
    if not all(isinstance(message, Mapping) for message in messages):
        raise ValueError("Each message must be an object with a role and a content.")
    return [_with_calls(_with_content(dict(message), form), form) for message in messages]


def _with_content(message: Message, form: Form) -> Message:
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


def _with_calls(message: Message, form: Form) -> Message:
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        message["tool_calls"] = [_with_arguments(call, form) for call in calls]
        message["content"] = message.get("content") or form.empty
    return message


def _with_arguments(call: Any, form: Form) -> Any:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping):
        raise ValueError("Each of a message's tool_calls must be an object with a function.")
    function = dict(call["function"])
    arguments = function.get("arguments")
    if form.objects and isinstance(arguments, str):
        function["arguments"] = _object(arguments)
    if not form.objects and isinstance(arguments, Mapping):
        function["arguments"] = json.dumps(arguments, ensure_ascii=False)
    return {**call, "function": function}


def _object(text: str) -> Any:
    """The JSON object in the text; the text where it holds none."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return text
    return value if isinstance(value, dict) else text

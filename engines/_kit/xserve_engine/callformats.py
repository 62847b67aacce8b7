"""The ways in which models write tool calls: what marks a block, and how a block is read.

A reader takes what stands between the marks and gives the calls, each a name and the arguments as JSON text. It
raises ValueError for what it cannot read. `Unfinished` says that the block ends within a JSON string, so that its
end mark is only a part of that string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Tools = Sequence[Mapping[str, Any]]
Call = tuple[str, str]

FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)</function>", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
MISTRAL = re.compile(r"\s*(?:\[TOOL_CALLS\])?([\w.-]+)(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*")
DEEPSEEK = re.compile("<｜tool▁call▁begin｜>(.*?)<｜tool▁sep｜>(.*?)<｜tool▁call▁end｜>", re.DOTALL)
FENCED = re.compile(r"\s*(\S+)\s*```json\s*(.*?)\s*```\s*", re.DOTALL)


class Unfinished(ValueError):
    """The block ends within a string."""


@dataclass(frozen=True, slots=True)
class Family:
    """One way to write calls."""

    read: Callable[[str, Tools], list[Call]]
    begin: str = ""  # mark before a block; "": there is none
    end: str = ""  # mark after it; "": the end of the answer
    bare: str = ""  # an answer that begins with this is a block without a mark


def read_tool_call(block: str, tools: Tools) -> list[Call]:
    """JSON as Hermes and Qwen write it, or the tags of Qwen3-Coder, or those of GLM."""
    if block.lstrip().startswith(("{", "[")):
        return read_list(block, tools)
    if "<arg_key>" in block:
        name = block.partition("<arg_key>")[0].strip()
        return _require([(name, _tagged(name, ARGUMENT.findall(block), tools))])
    functions = FUNCTION.findall(block)
    return _require([(name, _tagged(name, PARAMETER.findall(body), tools)) for name, body in functions])


def read_list(block: str, _: Tools) -> list[Call]:
    """A call as a JSON object, or a list of them."""
    value, rest = _json(block)
    if rest.strip():
        raise ValueError("There is more than JSON.")
    return _require([_call(one) for one in (value if isinstance(value, list) else [value])])


def read_objects(block: str, _: Tools) -> list[Call]:
    """JSON objects one after another, with a semicolon or nothing between them, as Llama writes them."""
    calls = []
    while block.strip():
        value, block = _json(block)
        calls.append(_call(value))
        block = block.lstrip().removeprefix(";")
    return _require(calls)


def read_mistral(block: str, tools: Tools) -> list[Call]:
    """A JSON list, or `name[ARGS]{...}` once or more."""
    if block.lstrip().startswith("["):
        return read_list(block, tools)
    calls = []
    while block.strip():
        head = MISTRAL.match(block)
        if not head:
            raise ValueError("There is no function's name.")
        arguments, block = _json(block[head.end() :])
        calls.append((head[1], _written(arguments)))
    return _require(calls)


def read_deepseek(block: str, _: Tools) -> list[Call]:
    """Entries with a separator between name and arguments; V3 and R1 put a kind before and a fence around."""
    calls = []
    for left, right in DEEPSEEK.findall(block):
        fenced = FENCED.fullmatch(right)
        name, arguments = fenced.groups() if fenced else (left.strip(), right)
        calls.append((name, _written(_json(arguments)[0])))
    return _require(calls)


def _json(text: str) -> tuple[Any, str]:
    """The value at the head of the text, and what follows it."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
    except json.JSONDecodeError as error:
        raise (Unfinished if error.msg.startswith("Unterminated string") else ValueError)(error.msg) from None
    except RecursionError:
        raise ValueError("It is nested too deep.") from None
    return value, text.lstrip()[end:]


def _call(value: Any) -> Call:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError("There is no function's name.")
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments, _ = _json(arguments)
    return value["name"], _written(arguments)


def _written(arguments: Any) -> str:
    if not isinstance(arguments, dict):
        raise ValueError("The arguments are no JSON object.")
    return json.dumps(arguments, ensure_ascii=False)


def _require(calls: list[Call]) -> list[Call]:
    if not calls or not all(name for name, _ in calls):
        raise ValueError("There is no call.")
    return calls


def _tagged(name: str, pairs: Sequence[tuple[str, str]], tools: Tools) -> str:
    """Arguments that came as text, each read as its parameter's type wants it."""
    functions = [tool.get("function") or {} for tool in tools]
    parameters = next((one.get("parameters") or {} for one in functions if one.get("name") == name), {})
    properties = parameters.get("properties") or {}
    return _written({key.strip(): _typed(value, properties.get(key.strip())) for key, value in pairs})


def _typed(value: str, schema: Any) -> Any:
    """The value itself where its type is a string or not said, else what it says in JSON."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind is None or "string" in (kind if isinstance(kind, list) else [kind]):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


_TOOL_CALL = Family(read_tool_call, "<tool_call>", "</tool_call>")
_MISTRAL = Family(read_mistral, "[TOOL_CALLS]")
_LLAMA = Family(read_objects, "<|python_tag|>", bare="{")
_DEEPSEEK = Family(read_deepseek, "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")

# By what a definition calls them, with hyphens.
BY_NAME: dict[str, Family] = {
    **dict.fromkeys(("hermes", "qwen", "qwen3-coder", "glm45"), _TOOL_CALL),
    **dict.fromkeys(("llama3", "llama3-json"), _LLAMA),
    **dict.fromkeys(("deepseek-v3", "deepseek-v3.1", "deepseek-r1"), _DEEPSEEK),
    "mistral": _MISTRAL,
    "demanded": Family(read_list, bare="["),
}
# By what stands in the chat templates of those who write so; the first that is found counts.
BY_MARK: dict[str, Family] = {one.begin: one for one in (_MISTRAL, _DEEPSEEK, _TOOL_CALL, _LLAMA)}

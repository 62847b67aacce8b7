"""Tool calls in what a model writes, turned into OpenAI's shape while the text arrives.

A model writes its calls in blocks, each after a mark; `callformats` knows the ways. A block is given out once it is
whole. One that cannot be read is given back as the text that it is, so nothing is lost but white space beside a
block. The marks are often special tokens: decode with those left in.

A call that a request demands (`tool_choice` "required", or a function's name) is not left to the model's habit. It
is written under the schema of `demand`, as a JSON list, and read by the parser of the name "demanded".
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from .callformats import BY_MARK, BY_NAME, Call, Family, Tools, Unfinished
from .pieces import settled

COMBINED = {"$ref", "allOf", "anyOf", "oneOf"}  # by which a schema has properties that it does not name itself
Delta = dict[str, Any]  # an entry of `tool_calls` in a delta: index, id, type, function


def parser_for(name: str | None, template: str, tools: Tools = ()) -> ToolParser | None:
    """A parser for one answer: of this name, else of the marks in the chat template; None where it has none.

    `tools` are those of the request. Raises ValueError for a name that is not known.
    """
    if name is None:
        family = next((family for mark, family in BY_MARK.items() if mark in template), None)
        return ToolParser(family, tools) if family else None
    known = BY_NAME.get(name.lower().replace("_", "-"))
    if known is None:
        raise ValueError(f"There is no tool parser {name}; there are {', '.join(sorted(BY_NAME))}.")
    return ToolParser(known, tools)


class ToolParser:
    """Reads one answer. However it is cut, the joined text and the calls are the same."""

    def __init__(self, family: Family, tools: Tools = ()) -> None:
        """`tools`: those of the request; the types of their parameters decide how an untyped value is read."""
        self.family, self.tools = family, tools
        self.calls = 0  # given out so far
        self._text = ""  # not given out yet; within a block it begins with its mark
        self._inside = False
        self._head = True  # nothing has been given out
        self._beside = False  # the text follows a block: white space at its head is layout

    def feed(self, text: str) -> list[str | Delta]:
        """The pieces of text and the calls that are certain once this text has come."""
        self._text += text
        return list(self._scan(ended=False))

    def finish(self) -> list[str | Delta]:
        """What was held back; the text has ended. A block without its end counts if it can be read."""
        return list(self._scan(ended=True))

    def _scan(self, ended: bool) -> Iterator[str | Delta]:
        """What is certain, up to where more text is needed."""
        while self._text:
            before = len(self._text), self._inside
            yield from self._block(ended) if self._inside else self._plain(ended)
            if before == (len(self._text), self._inside):
                return

    def _plain(self, ended: bool) -> Iterator[str]:
        """Text up to the next block, without the white space before it."""
        if self._beside:
            self._text = self._text.lstrip()
        bare, begin = self.family.bare, self.family.begin
        place = self._text.find(begin) if begin else -1
        if self._head and bare and self._text.lstrip().startswith(bare):
            self._inside = True
        elif place >= 0:
            yield from self._give(len(self._text[:place].rstrip()))
            self._inside = True
        else:
            yield from self._give(len(self._text) if ended else settled(self._text, begin))

    def _block(self, ended: bool) -> Iterator[str | Delta]:
        """The calls of the block at the head of the text; its mark as text, where it turns out to be none."""
        start = len(self._text) - len(self._text.lstrip())
        mark = len(self.family.begin) if self._text.startswith(self.family.begin, start) else 0
        calls, place = self._read(start + mark, ended)
        if calls:
            yield from map(self._delta, calls)
            self._text = self._text[place:].removeprefix(self.family.end)
            self._inside, self._head, self._beside = False, False, True
        elif calls is not None:
            self._inside = False
            yield from self._give(start + (mark or 1))

    def _read(self, start: int, ended: bool) -> tuple[list[Call] | None, int]:
        """The block's calls and its end; no calls where it is none; None where more text is needed to tell."""
        for place in self._ends(start, ended):
            try:
                return self.family.read(self._text[start:place], self.tools), place
            except Unfinished:
                continue
            except ValueError:
                return [], place
        return ([] if ended else None), 0

    def _ends(self, begin: int, ended: bool) -> Iterator[int]:
        """Places at which the block that begins there may end."""
        place = begin - 1
        while self.family.end and (place := self._text.find(self.family.end, place + 1)) >= 0:
            yield place
        if ended:
            yield len(self._text)

    def _give(self, size: int) -> Iterator[str]:
        if size:
            given, self._text = self._text[:size], self._text[size:]
            self._head = self._beside = False
            yield given

    def _delta(self, call: Call) -> Delta:
        name, arguments = call
        index, self.calls = self.calls, self.calls + 1
        # Nine letters and digits: Mistral's templates accept no other identifier.
        identifier = secrets.token_hex(5)[:9]
        return {
            "index": index,
            "id": identifier,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }


def demand(tools: Tools, choice: Any, parallel: bool = True) -> dict[str, Any] | None:
    """The JSON schema of the calls that a `tool_choice` demands; None where it leaves the model the choice.

    Raises ValueError for a function that is not among the tools, and for a choice of no known form.
    """
    if choice in (None, "auto", "none"):
        return None
    wanted = _wanted(tools, choice)
    definitions: dict[str, Any] = {}
    calls = [_schema_of(function, definitions) for function in wanted]
    schema: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"anyOf": calls}}
    if choice != "required" or not parallel:
        schema["maxItems"] = 1
    return schema | ({"$defs": definitions} if definitions else {})


def _wanted(tools: Tools, choice: Any) -> list[Mapping[str, Any]]:
    functions = [tool["function"] for tool in tools]
    if choice == "required":
        if not functions:
            raise ValueError("The tool_choice demands a call, and the request brings no tools.")
        return functions
    if not isinstance(choice, Mapping) or not isinstance(choice.get("function"), Mapping):
        raise ValueError('The tool_choice must be "auto", "none", "required" or an object that names a function.')
    name = choice["function"].get("name")
    found = [function for function in functions if function.get("name") == name]
    if not found:
        raise ValueError(f"The tool_choice names {name}, which is not among the tools.")
    return found


def _schema_of(function: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one function's call; what its parameters refer to goes to the root, where references look."""
    parameters = dict(function.get("parameters") or {"type": "object"})
    for name, definition in (parameters.pop("$defs", None) or {}).items():
        if definitions.setdefault(name, definition) != definition:
            raise ValueError(f"Two tools define {name} under $defs, and differently; rename one.")
    if "properties" in parameters and not COMBINED & parameters.keys():
        parameters.setdefault("additionalProperties", False)  # a weak model would go on inventing arguments
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": parameters},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }

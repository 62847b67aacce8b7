"""JSON, read by the standard library and then held to more than it asks for.

The standard library is fast but takes duplicate keys, NaN and lone surrogates, and overflows the stack on
deep nesting. Hooks notice these at C speed; only then is the text walked token by token, which finds the place.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from xserve.files.guard import MAX_DEPTH, MAX_NODES, TOO_DEEP, TOO_MANY
from xserve.files.scalars import SourceFloat, SourceInt
from xserve.files.tree import Document, Member, Node, Place, Positions, SyntaxFault

_TOKEN = re.compile(r'[ \t\r\n]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([{}\[\]:,])|([^\s{}\[\]:,"]+))', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LITERALS = {"true": True, "false": False, "null": None}


class JsonSyntaxFault(SyntaxFault):
    """The text is not JSON at all; as YAML it may still be well formed."""


def parse_json(text: str) -> Document:
    """Read strict JSON. Raises JsonSyntaxFault if it is none, SyntaxFault for JSON that we do not take."""
    if _suspicious(text):
        _refuse_excess(text)
    try:
        data = _DECODER.decode(text)
    except json.JSONDecodeError as fault:
        raise JsonSyntaxFault(fault.lineno, fault.colno, _sentence(fault.msg)) from None
    except (ValueError, RecursionError):
        json_tree(text)
        raise
    return Document(data, Positions(lambda: json_tree(text)), closed=True)


def json_tree(text: str) -> Node:
    """The document as a tree with places, holding it to every limit. Raises SyntaxFault."""
    builder = _Builder(text)
    for found in _TOKEN.finditer(text):
        builder.take(found)
    return builder.root()


class _Excess(SyntaxFault):
    """A limit is broken, whatever the rest of the text may be."""


def _refuse_excess(text: str) -> None:
    """Hold a text that could break a limit to all of them, before anything is built from it."""
    try:
        json_tree(text)
    except _Excess:
        raise
    except SyntaxFault:
        return  # a fault of grammar: the standard library words it better


def _sentence(message: str) -> str:
    return f"This is not JSON: {message[:1].lower()}{message[1:]}."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is given twice")
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=SourceInt, parse_float=SourceFloat, parse_constant=_refuse_constant
)


def _suspicious(text: str) -> bool:
    """Whether the text could break a limit that no hook sees. Each value but the first takes two characters."""
    return (
        len(text) > 2 * MAX_NODES
        or text.count("[") + text.count("{") > MAX_DEPTH
        or _SURROGATE.search(text) is not None
    )


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet."""

    node: Node
    key: str | None = None
    key_place: Place = (0, 0)


@dataclass(slots=True)
class _Builder:
    """Turns tokens into nodes without recursion. Trusts the grammar, which the standard library has checked."""

    text: str
    count: int = 0
    stack: list[_Open] = field(default_factory=list)
    done: Node | None = None
    lines: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = [0, *(found.end() for found in re.finditer("\n", self.text))]

    def root(self) -> Node:
        if self.done is None or self.stack:
            raise SyntaxFault(*self._place(len(self.text)), _sentence("unexpected end"))
        return self.done

    def take(self, found: re.Match[str]) -> None:
        string, mark, word = found.groups()
        place = self._place(found.start(found.lastindex or 0))
        if mark:
            self._take_mark(mark, place)
        elif string:
            self._take_string(string, place)
        else:
            self._add(Node(place, _number_or_word(word, place)))

    def _place(self, offset: int) -> Place:
        line = bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1

    def _take_mark(self, mark: str, place: Place) -> None:
        if mark in "{[":
            opened = _Open(Node(place, {} if mark == "{" else []))
            self._add(opened.node)
            self.stack.append(opened)
            if len(self.stack) > MAX_DEPTH:
                raise _Excess(*place, TOO_DEEP)
        elif mark in "}]" and self.stack:
            self.stack.pop()

    def _take_string(self, token: str, place: Place) -> None:
        value = _string(token, place)
        top = self.stack[-1] if self.stack else None
        if top is None or top.key is not None or isinstance(top.node.value, list):
            self._add(Node(place, value))
            return
        if value in top.node.value:
            raise SyntaxFault(*place, f'The key "{value}" is given twice.')
        top.key, top.key_place = value, place

    def _add(self, node: Node) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            raise _Excess(*node.place, TOO_MANY)
        if not self.stack:
            self.done = self.done or node
            return
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif top.key is not None:
            top.node.value[top.key] = Member(top.key_place, node)
            top.key = None


def _string(token: str, place: Place) -> str:
    try:
        value = str(json.loads(token))
        value.encode()
    except UnicodeEncodeError:
        raise _Excess(*place, "This text has half of a surrogate pair, which is no character.") from None
    except ValueError as fault:
        raise SyntaxFault(*place, _sentence(str(fault))) from None
    return value


def _number_or_word(word: str, place: Place) -> Any:
    if word in _LITERALS:
        return _LITERALS[word]
    try:
        return SourceInt(word) if word.lstrip("-").isdigit() else SourceFloat(word)
    except ValueError as fault:
        raise SyntaxFault(*place, _refusal(word, str(fault))) from None


def _refusal(word: str, reason: str) -> str:
    if word.lstrip("-") in {"NaN", "Infinity"}:
        return f"{word} is not a finite number."
    if "write it in quotes" in reason:
        return f"{reason[:1].upper()}{reason[1:]}."
    return _sentence(f"{word[:40]!r} is no value")

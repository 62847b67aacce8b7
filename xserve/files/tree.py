"""A parsed document that still knows where everything stands.

Both readers, YAML's and JSON's, can describe a document as a tree of nodes with places. For JSON, which is
parsed by the standard library at C speed, the tree is made only when somebody asks for a place: most of
thousands of files are never asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Place = tuple[int, int]
"""Line and column, both from 1; columns count characters."""
Path = tuple[str | int, ...]
"""The way into a document: keys of mappings and indices (from 0) of sequences."""


class SyntaxFault(Exception):
    """The text cannot be read as one document of plain data; `message` is a sentence."""

    def __init__(self, line: int, column: int, message: str) -> None:
        """`line` and `column` count from 1; 0 and 0 mean the text as a whole."""
        super().__init__(f"{line}:{column}: {message}")
        self.line = line
        self.column = column
        self.message = message


@dataclass(slots=True)
class Node:
    """A value with its place: a scalar, a list of nodes, or a dict of members."""

    place: Place
    value: Any


@dataclass(slots=True)
class Member:
    """One key of a mapping, with the key's own place."""

    place: Place
    node: Node


def plain(node: Node) -> Any:
    """The data of a tree, without places. What an alias repeats is copied, so nothing is shared."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(member.node) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


class Positions:
    """Where the values and keys of a document stand, looked up on demand."""

    def __init__(self, tree: Callable[[], Node]) -> None:
        """`tree` is called at the first question, not before."""
        self._make = tree
        self._root: Node | None = None

    def at(self, path: Path) -> Place:
        """The place of the value at `path`, or of its nearest parent that exists."""
        return self._walk(path)[1]

    def key_at(self, path: Path) -> Place:
        """The place of the last key of `path`; where that is no key of a mapping, the same as `at`."""
        return self._walk(path)[0]

    def _walk(self, path: Path) -> tuple[Place, Place]:
        if self._root is None:
            self._root = self._make()
        node, key = self._root, self._root.place
        for part in path:
            step = _step(node, part)
            if step is None:
                break
            key, node = step
        return key, node.place


def _step(node: Node, part: str | int) -> tuple[Place, Node] | None:
    value = node.value
    if isinstance(value, dict) and part in value:
        return value[part].place, value[part].node
    if isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
        return value[part].place, value[part]
    return None


def _nowhere() -> Node:
    return Node((0, 0), None)


@dataclass(frozen=True, slots=True)
class Document:
    """What was parsed. Numbers keep their source text, see `scalars`."""

    data: Any
    positions: Positions = field(default_factory=lambda: Positions(_nowhere), compare=False, repr=False)
    closed: bool = False
    """The text ends with the bracket that it began with, so it cannot be the front part of a longer text."""

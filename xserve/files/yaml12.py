"""YAML with the 1.2 core schema, composed from libyaml's events in one pass that cannot be exploded.

libyaml scans; everything after is done here: one document, text keys given once, core tags only, and limits
that count what an alias repeats as often as it is repeated, so that a bomb is refused at the line that lights
it. The merge key `<<` is no part of YAML 1.2, but people's files use it, so it is honoured and counted alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events as ev

from xserve.files.guard import MAX_DEPTH, MAX_NODES, TOO_DEEP, TOO_MANY, place_of
from xserve.files.scalars import resolve
from xserve.files.tree import Document, Member, Node, Place, Positions, SyntaxFault, plain

# libyaml's scanner; where PyYAML was built without it, its own, which is ten times slower and says the same.
_Scanner: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_TYPES: dict[str, type | tuple[type, ...]] = {
    f"{_TAG}int": int,
    f"{_TAG}float": (float, int),
    f"{_TAG}bool": bool,
    f"{_TAG}null": type(None),
}
_TEXT_TAGS = {"!", f"{_TAG}str"}
_COLLECTION_TAGS = {None, "!", f"{_TAG}map", f"{_TAG}seq"}
_MERGE = "<<"


def parse_yaml(text: str) -> Document:
    """Read one YAML document. Raises SyntaxFault."""
    composer = _Composer()
    scanner = _Scanner(text)
    try:
        while (event := scanner.get_event()) is not None:
            composer.take(event)
    except yaml.MarkedYAMLError as fault:
        raise _marked(fault, text) from None
    except yaml.reader.ReaderError as fault:
        raise _unreadable(fault, text) from None
    finally:
        scanner.dispose()
    if composer.root is None:
        raise SyntaxFault(0, 0, "This file is empty or holds only comments.")
    root = composer.root
    return Document(plain(root), Positions(lambda: root), closed=composer.closed)


def _marked(fault: yaml.MarkedYAMLError, text: str) -> SyntaxFault:
    mark = fault.problem_mark or fault.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    context = fault.context_mark
    since = f" ({fault.context}, begun in line {context.line + 1})" if fault.context and context else ""
    lines = text.split("\n")
    if line > len(lines):  # the end, which libyaml counts as another line
        line, column = place_of(text, len(text))
    if line and lines[line - 1][column - 1 : column] == "\t":
        return SyntaxFault(line, column, "A tab may not indent YAML; use spaces.")
    return SyntaxFault(line, column, f"This is not YAML: {fault.problem}{since}.")


def _unreadable(fault: yaml.reader.ReaderError, text: str) -> SyntaxFault:
    # The position is a byte offset in libyaml and a character offset in the other scanner; the character tells.
    offset = text.find(chr(fault.character)) if isinstance(fault.character, int) else -1
    place = place_of(text, offset) if offset >= 0 else (0, 0)
    return SyntaxFault(*place, f"This is not YAML: {fault.reason}.")


@dataclass(slots=True)
class _Open:
    """A collection whose end was not seen yet."""

    node: Node
    anchor: str | None
    size: int = 1  # values in it so far, itself included, aliases expanded
    height: int = 1  # levels of collections in it so far, itself included
    key: str | None = None
    key_place: Place = (0, 0)
    merging: bool = False  # the key is the merge key
    merged: list[Node] | None = None


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What an anchor stands for, and what repeating it costs."""

    node: Node
    size: int
    height: int


@dataclass(slots=True)
class _Composer:
    """Builds the tree from events, without recursion."""

    root: Node | None = None
    closed: bool = False
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Anchored] = field(default_factory=dict)
    count: int = 0

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is ev.ScalarEvent:
            self._scalar(event)
        elif kind is ev.MappingStartEvent or kind is ev.SequenceStartEvent:
            self._open(event, {} if kind is ev.MappingStartEvent else [])
        elif kind is ev.MappingEndEvent or kind is ev.SequenceEndEvent:
            self._close()
        elif kind is ev.AliasEvent:
            self._alias(event)
        elif kind is ev.DocumentStartEvent and self.root is not None:
            raise SyntaxFault(*_place(event), "A second document begins here; a file holds one.")
        elif kind is ev.DocumentEndEvent:
            self._end(event)

    def _end(self, event: Any) -> None:
        self.closed = self.closed or bool(event.explicit)
        if self.root is not None and self.root.value is None:
            raise SyntaxFault(*self.root.place, "This file holds nothing but null.")

    def _scalar(self, event: Any) -> None:
        place = _place(event)
        if self._expects_key():
            self._take_key(event, place)
            return
        node = Node(place, _scalar_value(event, place))
        if event.anchor:
            self.anchors[event.anchor] = _Anchored(node, 1, 0)
        self._spend(place, 1, 0)
        self._grow(1, 0)
        self._add(node)

    def _open(self, event: Any, value: Any) -> None:
        place = _place(event)
        if self._expects_key():
            raise SyntaxFault(*place, "A key must be text, not a list or a mapping.")
        if event.tag not in _COLLECTION_TAGS:
            raise SyntaxFault(*place, _foreign(event.tag))
        self._spend(place, 1, 1)
        if not self.stack:
            self.closed = bool(event.flow_style)
        if event.anchor:
            self.anchors.pop(event.anchor, None)
        self.stack.append(_Open(Node(place, value), event.anchor))

    def _close(self) -> None:
        done = self.stack.pop()
        for source in done.merged or ():
            for key, member in source.value.items():
                done.node.value.setdefault(key, member)
        if done.anchor:
            self.anchors[done.anchor] = _Anchored(done.node, done.size, done.height)
        self._grow(done.size, done.height)
        self._add(done.node)

    def _alias(self, event: Any) -> None:
        place, name = _place(event), event.anchor
        if any(name == opened.anchor for opened in self.stack):
            raise SyntaxFault(*place, f"The alias *{name} stands inside what it repeats.")
        known = self.anchors.get(name)
        if known is None:
            raise SyntaxFault(*place, f"Nothing above is anchored as &{name}.")
        if self._expects_key():
            self._begin_member(known.node.value, place)
            return
        self._spend(place, known.size, known.height)
        self._grow(known.size, known.height)
        self._add(Node(place, known.node.value))

    def _spend(self, place: Place, size: int, height: int) -> None:
        """Count values that appear at `place`. Raises SyntaxFault beyond a limit."""
        self.count += size
        if self.count > MAX_NODES:
            raise SyntaxFault(*place, TOO_MANY)
        if len(self.stack) + height > MAX_DEPTH:
            raise SyntaxFault(*place, TOO_DEEP)

    def _grow(self, size: int, height: int) -> None:
        """Add a finished value to the measure of the collection around it."""
        if self.stack:
            top = self.stack[-1]
            top.size += size
            top.height = max(top.height, height + 1)

    def _expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].node.value, dict) and self.stack[-1].key is None

    def _take_key(self, event: Any, place: Place) -> None:
        value = _scalar_value(event, place)
        if event.anchor:
            self.anchors[event.anchor] = _Anchored(Node(place, value), 1, 0)
        if event.implicit[0] and value == _MERGE:
            top = self.stack[-1]
            top.key, top.key_place, top.merging = _MERGE, place, True
            return
        self._begin_member(value, place, event.value)

    def _begin_member(self, key: Any, place: Place, written: str = "") -> None:
        if not isinstance(key, str):
            hint = f'; write "{written}" in quotes' if written else ""
            raise SyntaxFault(*place, f"A key must be text{hint}.")
        top = self.stack[-1]
        if key in top.node.value:
            raise SyntaxFault(*place, f'The key "{key}" is given twice.')
        top.key, top.key_place = key, place

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
            return
        if top.merging:
            self._merge(top, node)
        else:
            top.node.value[top.key] = Member(top.key_place, node)
        top.key, top.merging = None, False

    def _merge(self, top: _Open, node: Node) -> None:
        if top.merged is not None:
            raise SyntaxFault(*top.key_place, 'The key "<<" is given twice; give it a list.')
        top.merged = node.value if isinstance(node.value, list) else [node]
        if not all(isinstance(source.value, dict) for source in top.merged):
            raise SyntaxFault(*node.place, "Only mappings can be merged with <<.")


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _scalar_value(event: Any, place: Place) -> Any:
    """The value of a scalar event. Raises SyntaxFault for a foreign tag or a number that is not taken."""
    if event.tag in _TEXT_TAGS or (event.tag is None and not event.implicit[0]):
        return event.value
    try:
        value = resolve(event.value)
    except ValueError as fault:
        sentence = str(fault)
        raise SyntaxFault(*place, f"{sentence[:1].upper()}{sentence[1:]}.") from None
    if event.tag is not None and not isinstance(value, _TYPES.get(event.tag, ())):
        raise SyntaxFault(*place, _foreign(event.tag))
    return value


def _foreign(tag: str) -> str:
    return f"The tag {tag.replace(_TAG, '!!')} is not taken here; write the plain value."

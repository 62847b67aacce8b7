"""From the content of one file to a document that can be in force, or to problems with their places."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xserve.core.judge import Fault, Verdict
from xserve.core.problems import Problem, Severity, has_errors
from xserve.files.reader import Unreadable, read
from xserve.files.sources import Kind, Layer, Source
from xserve.files.syntax import Document, SyntaxFault, parse
from xserve.files.tree import Path, Place, Positions

Judge = Callable[[str, Any], Verdict]
"""(kind, parsed data) -> verdict; must accept again, unchanged, a value that it accepted once."""
Name = tuple[str, ...]
"""What a document declares, e.g. ("LLM", "qwen") for a registration and ("chat",) for a deployment."""
Names = Callable[[Kind, Any], Mapping[Name, Path]]
"""(kind, accepted value) -> the names that it declares, each with the place in the document that does."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A document that was found good. `stale` and `pending` compare the file on disk to it."""

    path: str
    layer: Layer
    kind: Kind
    content_hash: str  # SHA-256 of the bytes, hexadecimal
    document_hash: str  # of the accepted value: comments, formatting and spelling of numbers do not count
    data: Any = field(repr=False, compare=False)  # plain JSON values
    names: Mapping[Name, Path] = field(repr=False, compare=False, default_factory=dict)
    stale: bool = False  # the file on disk says something else that was rejected
    pending: str = ""  # why the file on disk was not judged yet, a sentence; "" where it was


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one content of one file amounts to."""

    content_hash: str
    accepted: Accepted | None
    problems: tuple[Problem, ...]
    closed: bool = False  # cannot be the front part of a longer text


def examine(source: Source, path: str, raw: bytes, judge: Judge, names: Names) -> Candidate:
    """Parse and judge the content of a file. Raises nothing that the content could cause."""
    digest = content_hash(raw)
    try:
        document = parse(raw)
    except SyntaxFault as fault:
        return Candidate(digest, None, (Problem(path, fault.line, fault.column, "", fault.message),))
    verdict = judge(source.kind, document.data)
    problems = locate(path, document, verdict)
    if verdict.value is None or has_errors(problems):
        return Candidate(digest, None, problems, document.closed)
    return Candidate(digest, accept(source, path, digest, verdict.value, names), problems, document.closed)


def accept(source: Source, path: str, digest: str, value: Any, names: Names) -> Accepted:
    """The accepted document of a verdict's value."""
    declared = names(source.kind, value)
    return Accepted(path, source.layer, source.kind, digest, document_hash(value), value, declared)


def locate(path: str, document: Document, verdict: Verdict) -> tuple[Problem, ...]:
    """The faults of a verdict as problems with line and column."""
    return tuple(_problem(path, document, fault) for fault in verdict.faults)


def _problem(path: str, document: Document, fault: Fault) -> Problem:
    find = document.positions.key_at if fault.on_key else document.positions.at
    line, column = find(fault.path)
    dotted = ".".join(str(part) for part in fault.path)
    return Problem(path, line, column, dotted, fault.message, Severity(fault.severity))


def content_hash(raw: bytes) -> str:
    """SHA-256 of the bytes, hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def document_hash(value: Any) -> str:
    """SHA-256 of the value as canonical JSON, hexadecimal."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def unreadable(path: str, predicate: str) -> Candidate:
    """The candidate of a file that cannot be read."""
    return Candidate("", None, (Problem(path, 0, 0, "", f"This {predicate}."),))


def find(document: Accepted, keys: Path) -> Place:
    """The place of a key in an accepted document; 0 and 0 where the file says something else by now."""
    return positions(document).key_at(keys)


def positions(document: Accepted) -> Positions:
    """The places in an accepted document, read from its file; all 0 and 0 where that says something else by now."""
    try:
        raw = read(document.path, ("/",), lambda: 0).raw
        return (parse(raw) if content_hash(raw) == document.content_hash else Document(None)).positions
    except (Unreadable, SyntaxFault):
        return Document(None).positions

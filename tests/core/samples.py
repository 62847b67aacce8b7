"""Sample documents, and the judge's answers in a form that is easy to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xserve.core.judge import Verdict, judge
from xserve.core.problems import Severity

FOLDER = Path(__file__).parent / "definitions"
TYPES = {
    "llm": "LLM",
    "embedding": "embedding",
    "rerank": "rerank",
    "image": "image",
    "audio": "audio",
    "flexible": "flexible",
}
"""File name of a template -> its model type."""

Row = tuple[tuple[str | int, ...], str]


def template(name: str, **changes: Any) -> dict[str, Any]:
    """One of the six templates of the custom-model page, with some keys set to other values."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return {**content, **changes}


def without(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The document without some keys."""
    return {key: value for key, value in document.items() if key not in keys}


def with_spec(name: str, **changes: Any) -> dict[str, Any]:
    """A template whose only spec has some keys set to other values."""
    document = template(name)
    return {**document, "model_specs": [{**document["model_specs"][0], **changes}]}


def accepted(document: Any, kind: str = "model") -> dict[str, Any]:
    """The value of a document that must be accepted without an error."""
    verdict = judge(kind, document)
    assert verdict.value is not None, verdict.faults
    assert errors(verdict) == []
    return verdict.value


def errors(verdict: Verdict) -> list[Row]:
    """Place and sentence of every error."""
    return [(fault.path, fault.message) for fault in verdict.faults if fault.severity is Severity.ERROR]


def warnings(verdict: Verdict) -> list[Row]:
    """Place and sentence of every warning."""
    return [(fault.path, fault.message) for fault in verdict.faults if fault.severity is Severity.WARNING]


def only_error(document: Any, kind: str = "model") -> Row:
    """The one error of a document that must be refused for one thing only."""
    verdict = judge(kind, document)
    assert verdict.value is None
    (error,) = errors(verdict)
    return error

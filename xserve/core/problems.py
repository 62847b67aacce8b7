"""A problem: one sentence about one place in one file, for the person who can mend it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Severity(StrEnum):
    """How much a problem matters."""

    ERROR = "error"  # the document is not accepted; the last good one stays in force
    WARNING = "warning"  # accepted, but the writer should know


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A sentence with its place. `line` and `column` count from 1; 0 means the document as a whole."""

    path: str
    line: int
    column: int
    field: str  # dotted, e.g. "model_specs.0.model_uri"; "" for the document
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """`file:line:column: field: sentence`, the form editors and CI systems know how to jump to."""
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        where = f"{self.field}: " if self.field else ""
        mark = "" if self.severity is Severity.ERROR else "warning: "
        return f"{place}: {mark}{where}{self.message}"

    def at(self, path: str) -> Problem:
        """The same problem, reported for another path."""
        return replace(self, path=path)


def has_errors(problems: tuple[Problem, ...] | list[Problem]) -> bool:
    """Whether any of the problems keeps the document from being accepted."""
    return any(problem.severity is Severity.ERROR for problem in problems)

"""Prints: JSON, tables, durations, problems, and lines that follow what goes on.

Data goes to stdout; what is said about it, and every reason for a failure, goes to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import east_asian_width


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_lines(lines: Iterable[str]) -> None:
    """Lines on stdout, each as soon as it is there."""
    for line in lines:
        print(line, flush=True)


def say(sentence: str) -> None:
    """A remark, on stderr."""
    print(sentence, file=sys.stderr)


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns two blanks apart, padded by what a terminal shows; None is shown as `-`."""
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(_pad, row, widths)).rstrip() for row in cells)


def indent(text: str, by: str = "  ") -> str:
    """Every line moved to the right."""
    return "\n".join(by + line for line in text.splitlines())


def duration(seconds: float) -> str:
    """`0s`, `59s`, `3m20s`, `5h07m`, `12d3h`: two units at most."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def print_problems(problems: Iterable[dict[str, Any]]) -> bool:
    """Problems on stderr, one a line; returns whether one of them is an error."""
    rejected = False
    for problem in problems:
        say(problem["text"])
        rejected |= problem["severity"] == "error"
    return rejected


class Progress:
    """Lines about what goes on, on stderr: on a terminal one line that changes, elsewhere one line per change."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._shown: str | None = None
        self._terminal = sys.stderr.isatty()

    def show(self, line: str) -> None:
        """Show a line unless it stands there already."""
        line = _cell(line)
        if line == self._shown:
            return
        self._shown = line
        print(f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr)
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line that is shown."""
        if self._terminal and self._shown is not None:
            print(file=sys.stderr)
        self._shown = None


def _cell(value: Any) -> str:
    """A value as one line without control characters: names and messages come from files and engines."""
    text = "-" if value is None else str(value)
    return "".join(char if char.isprintable() else " " for char in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)

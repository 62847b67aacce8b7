"""A figure: what was measured, what it should be, and whether it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    name: str
    value: float
    unit: str  # "x" is a ratio
    most: float | None = None  # target: no more than this
    least: float | None = None  # target: no less than this
    note: str = ""  # how it was taken

    @property
    def target(self) -> str:
        """The target in words; "" where there is none."""
        if self.most is not None:
            return f"<= {self.most:g} {self.unit}"
        return f">= {self.least:g} {self.unit}" if self.least is not None else ""

    @property
    def verdict(self) -> str:
        """`holds` or `missed`; "" without a target."""
        if self.most is None and self.least is None:
            return ""
        held = (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)
        return "holds" if held else "missed"


def table(figures: list[Figure]) -> str:
    """Columns for people."""
    rows = [("figure", "measured", "target", "verdict", "")]
    rows += [(each.name, _measured(each), each.target, each.verdict, each.note) for each in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, measured, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
    return "  ".join((name, measured.strip().rjust(widths[1]), *rest, row[4])).rstrip()


def _measured(figure: Figure) -> str:
    digits = 0 if figure.value >= 100 else 1 if figure.value >= 10 else 3
    return f"{figure.value:,.{digits}f} {figure.unit}"

"""Lines over a number, as SVG: enough for a memory curve, and no library to keep for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 40, 80, 50  # margins
_COLOURS = ("#1f5fa8", "#c2571a", "#3a7d44", "#7a4fa3")


@dataclass(frozen=True, slots=True)
class Line:
    """A curve with its name."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """The picture; both axes begin at zero."""
    widest = max(x for line in lines for x, _ in line.points)
    highest = max(y for line in lines for _, y in line.points)
    marks_across, marks_up = _marks(widest), _marks(highest * 1.1)
    frame = _Frame(marks_across[-1], marks_up[-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 24, title, size=16),
        *(_grid_up(frame, mark) for mark in marks_up),
        *(_text(frame.x(mark), _HEIGHT - 30, f"{mark:,.0f}", "middle") for mark in marks_across),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, across, "middle"),
        _text(_LEFT - 8, _TOP - 14, up, "end"),
        *(_curve(frame, line, place) for place, line in enumerate(lines)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie in the picture."""

    widest: float
    highest: float

    def x(self, value: float) -> float:
        return _LEFT + value / self.widest * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - value / self.highest * (_HEIGHT - _TOP - _BOTTOM)


def _marks(most: float) -> list[float]:
    """About five round numbers from zero to beyond the largest value."""
    rough = most / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * count for count in range(math.ceil(most / step - 1e-9) + 1)]


def _grid_up(frame: _Frame, mark: float) -> str:
    y = frame.y(mark)
    line = f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
    return line + _text(_LEFT - 8, y + 4, f"{mark:,.0f}", "end")


def _curve(frame: _Frame, line: Line, place: int) -> str:
    colour = _COLOURS[place % len(_COLOURS)]
    points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line.points)
    legend = _text(_LEFT + place * 300, 46, line.name, colour=colour)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>{legend}'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12, colour: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )

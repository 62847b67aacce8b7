"""What is printed: tables, durations, progress."""

from __future__ import annotations

import sys

import pytest

from xserve.cli.output import Progress, duration, table


def test_columns_are_padded_by_what_a_terminal_shows() -> None:
    """A Chinese character takes two places; control characters cannot reach the terminal."""
    shown = table(("NAME", "N"), [("通义", 1), ("a\x1b[2J\nb", None)])
    assert shown.splitlines() == ["NAME     N", "通义     1", "a [2J b  -"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (86399, "23h59m"), (97200, "1d3h")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_progress_is_one_line_per_change(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for line in ("a", "a", "b", "b", "a"):
        progress.show(line)
    progress.end()
    assert capsys.readouterr().err == "a\nb\na\n"


def test_progress_shows_what_engines_say_without_its_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().show("loads\n\x1b[2J99 %")
    assert capsys.readouterr().err == "loads  [2J99 %\n"


def test_progress_on_a_terminal_is_one_line_that_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress()
    for line in ("a", "a", "b"):
        progress.show(line)
    progress.end()
    progress.end()
    assert capsys.readouterr().err == "\r\x1b[Ka\r\x1b[Kb\n"

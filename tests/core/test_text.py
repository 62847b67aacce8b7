"""Names, sizes, places of weights and durations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xserve.core.text import (
    check_name,
    check_size,
    check_uid,
    check_uri,
    check_variable,
    check_variable_value,
    counted,
    parse_duration,
    path_of,
    source_text,
)
from xserve.files.scalars import SourceFloat, SourceInt

FORBIDDEN = "+\\/?%#&= \t\n\r\v\f\x00\x1b\x7f\x85\u00a0\u2028\u3000"


@pytest.mark.parametrize(
    "name", ["a", "7b", "通义千问", "Qwen2.5-0.5B_Instruct", "a.b", "...", "_x", "a" * 500, "é~!@"]
)
def test_names_are_nearly_free(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("character", FORBIDDEN, ids=lambda character: f"{ord(character):#x}")
@pytest.mark.parametrize("around", ["{}", "a{}", "{}a", "a{}b"])
def test_a_forbidden_character_is_named_wherever_it_stands(character: str, around: str) -> None:
    with pytest.raises(ValueError, match="cannot hold") as caught:
        check_name(around.format(character))
    assert repr(character) in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", "-", "-rf", "--model"])
def test_names_that_would_be_taken_for_something_else_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a usable name"):
        check_name(name)


@given(st.text(max_size=6))
def test_a_name_never_leads_out_of_its_place(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    assert name not in {"", ".", ".."}
    assert not set(name) & set("/\\%?#&=+")
    assert name.isprintable() or not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name)
    assert name == name.strip()


@pytest.mark.parametrize("uid", ["chat", "a" * 100, "x-rep", "x-rep0-y", "rep0", "x-repa"])
def test_public_names(uid: str) -> None:
    assert check_uid(uid) == uid


@pytest.mark.parametrize(("uid", "hint"), [("a" * 101, "has 101"), ("x-rep0", "replicas"), ("x-rep12", "replicas")])
def test_public_names_that_are_refused(uid: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        check_uid(uid)


def test_a_public_name_is_a_name() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        check_uid("a b")


@pytest.mark.parametrize("size", ["7", "0_5", "72", "1_8", "0"])
def test_sizes(size: str) -> None:
    assert check_size(size) == size


@pytest.mark.parametrize(
    ("size", "hint"), [("0.5", "; write '0_5'"), ("7b", ""), ("", ""), ("-1", ""), (".5", ""), ("7\n", "")]
)
def test_what_is_no_size(size: str, hint: str) -> None:
    with pytest.raises(ValueError, match="is not a size in billions") as caught:
        check_size(size)
    assert str(caught.value).endswith(f"such as 7 or 0_5{hint}")


@pytest.mark.parametrize(
    ("uri", "path"),
    [("/w", "/w"), ("file:///w", "/w"), ("FILE:///w x", "/w x"), ("/w/file://x", "/w/file://x"), ("/a:b", "/a:b")],
)
def test_the_path_of_a_place(uri: str, path: str) -> None:
    assert path_of(check_uri(uri)) == path


@given(st.text())
def test_an_accepted_place_has_an_absolute_path(uri: str) -> None:
    try:
        check_uri(uri)
    except ValueError:
        return
    assert path_of(uri).startswith("/")
    assert "\x00" not in path_of(uri)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("0s", 0.0),
        (30, 30.0),
        (0, 0.0),
        (0.25, 0.25),
        (SourceInt("15"), 15.0),
        (SourceFloat("1.5"), 1.5),
    ],
)
def test_durations(written: Any, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    ["", "30", "s", "30 s", "30S", "1d", "1h30m", "-5s", "1.s", "infs", "9" * 400 + "s", -1, -0.5, True, None, []],
    ids=lambda written: repr(written)[:12],
)
def test_what_is_no_duration(written: Any) -> None:
    with pytest.raises(ValueError, match="is not a duration; write for example"):
        parse_duration(written)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400], ids=["nan", "inf", "huge"])
def test_a_number_without_bounds_is_no_duration(number: float) -> None:
    with pytest.raises(ValueError, match="is not a duration; write for example"):
        parse_duration(number)


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (0.5, "0.5"), (SourceInt("007"), "007"), (SourceFloat("1e3"), "1e3"), ("x", "x")],
)
def test_numbers_become_the_text_they_were_written_as(value: Any, text: str) -> None:
    assert source_text(value) == text


@pytest.mark.parametrize("value", [True, False, None, [], {}])
def test_what_is_no_number_is_left_alone(value: Any) -> None:
    assert source_text(value) is value


@pytest.mark.parametrize("name", ["", "A=B", "=", "A\x00"])
def test_what_cannot_name_an_environment_variable(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an environment variable"):
        check_variable(name)


def test_a_variable_holds_anything_but_nul() -> None:
    assert check_variable("A b.c") == "A b.c"
    assert check_variable_value("x=y\n") == "x=y\n"
    with pytest.raises(ValueError, match="NUL"):
        check_variable_value("a\x00b")


def test_numbers_are_said_as_people_do() -> None:
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]

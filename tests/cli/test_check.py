"""`check`: needs no daemon, takes files of any name, says what is wrong and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .scripted import Outcome

Xserve = Callable[..., Outcome]

GOOD = "version: 1\nmodels: {}\n"
BAD = "version: 1\nmodels:\n  chat:\n    replica: 2\n"
ABSENT = "version: 1\nmodels:\n  chat: {model: nobody}\n"


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A file as configuration managers hand it over."""
    return tmp_path / "tmpab12cd"


@pytest.fixture
def check(xserve: Xserve, config_dir: Path) -> Xserve:
    """`xserve check` on a config directory."""
    return lambda *words: xserve("check", "--config-dir", str(config_dir), *words)


def test_a_good_file(check: Xserve, candidate: Path) -> None:
    candidate.write_text(GOOD)
    assert check(str(candidate)) == Outcome(0, "no problems\n", "")


def test_a_bad_field_is_named_with_its_place_and_the_nearest_name(check: Xserve, candidate: Path) -> None:
    candidate.write_text(BAD)
    ended = check(str(candidate))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"{candidate}:4:5: models.chat.replica: ")
    assert "replicas" in ended.err


def test_json_says_the_same(check: Xserve, candidate: Path) -> None:
    candidate.write_text(BAD)
    ended = check(str(candidate), "--json")
    document = json.loads(ended.out)
    assert (ended.code, document["accepted"]) == (1, False)
    found = document["problems"][0]
    assert (found["line"], found["column"], found["field"], found["severity"]) == (4, 5, "models.chat.replica", "error")
    assert found["text"] == ended.err.strip()


def test_warnings_are_told_and_accepted_unless_strict(check: Xserve, candidate: Path) -> None:
    candidate.write_text(ABSENT)
    assert "warning: " in check(str(candidate)).err
    assert check(str(candidate)).code == 0
    assert check(str(candidate), "--strict").code == 1


def test_without_a_file_the_whole_directory_is_checked(check: Xserve, config_dir: Path) -> None:
    assert check().code == 0
    (config_dir / "deploy.yaml").write_text(BAD)
    ended = check()
    assert ended.code == 1
    assert f"{config_dir / 'deploy.yaml'}:4:5: " in ended.err


def test_the_kind_can_be_said(check: Xserve, candidate: Path) -> None:
    candidate.write_text(GOOD)
    assert check(str(candidate), "--kind", "settings").code == 1
    assert check(str(candidate), "--kind", "soup").code == 2


def test_a_place_for_two_files_is_a_usage_error(check: Xserve) -> None:
    assert check("--as", "x").code == 2
    assert check("a", "b", "--as", "x").code == 2


def test_a_file_that_is_not_there_is_a_reason_and_no_traceback(check: Xserve, candidate: Path) -> None:
    ended = check(str(candidate))
    assert ended.code == 1
    assert str(candidate) in ended.err


def test_the_real_program_answers_with_the_same_codes(child: Callable[..., object], config_dir: Path) -> None:
    (config_dir / "deploy.yaml").write_text(BAD)
    ran = child("check", "--config-dir", str(config_dir))
    assert ran.returncode == 1  # type: ignore[attr-defined]

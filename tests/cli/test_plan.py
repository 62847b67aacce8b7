"""`plan`: exit codes, candidates, and the files alone where no daemon runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xserve.core.views import WaitingView

from . import views
from .scripted import Outcome, Script

Xserve = Callable[..., Outcome]
PLAN = ("POST", "/xserve/v1/plan")


def test_changes_exit_3_and_each_action_has_its_reason(script: Script, xserve: Xserve) -> None:
    waiting = WaitingView(model="big", reason="NoGpu", message="needs 1 GPU")
    script.on(*PLAN, views.plan(views.start(), waiting=(waiting,)))
    assert xserve("plan") == Outcome(
        3,
        "ACTION  MODEL  WHAT            REASON\n"
        "start   chat   1a2b replica 0  1 of 1 replicas is missing\n"
        "big waits: needs 1 GPU (NoGpu)\n",
        "",
    )


def test_nothing_to_do_exits_0(script: Script, xserve: Xserve) -> None:
    script.on(*PLAN, views.plan(problems=(views.warning(),)))
    assert xserve("plan") == Outcome(0, "nothing to do\n", views.warning().text + "\n")


def test_a_rejected_file_exits_1_and_the_actions_are_printed_all_the_same(script: Script, xserve: Xserve) -> None:
    script.on(*PLAN, views.plan(views.start(), problems=(views.problem(),)))
    ended = xserve("plan", "--json")
    assert (ended.code, ended.err) == (1, views.problem().text + "\n")
    assert json.loads(ended.out)["actions"][0]["action"] == "start"


def test_candidates_are_sent_as_text_with_the_place_where_they_would_stand(
    script: Script, xserve: Xserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one").write_text("version: 1\n")
    Path("two").write_text("{}")
    script.on(*PLAN, views.plan())
    xserve("plan", "--with", "one", "--as", "deploy.yaml")
    xserve("plan", "--with", "one", "--with", "two")
    first, second = (request.body["candidates"] for request in script.requests)
    assert first == [{"path": str(tmp_path / "deploy.yaml"), "text": "version: 1\n"}]
    assert [it["path"] for it in second] == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_a_place_for_two_files_is_a_usage_error(xserve: Xserve) -> None:
    assert xserve("plan", "--as", "x").code == 2
    assert xserve("plan", "--as", "x", "--with", "a", "--with", "b").code == 2


def test_a_candidate_that_cannot_be_read(xserve: Xserve, tmp_path: Path) -> None:
    ended = xserve("plan", "--with", str(tmp_path / "none"))
    assert ended.code == 1
    assert "cannot read" in ended.err


def test_without_a_daemon_the_files_tell(xserve: Xserve, config_dir: Path) -> None:
    """The same exit codes; an entry without a definition waits, a broken deploy file is rejected."""
    deploy = config_dir / "deploy.yaml"
    assert xserve("plan", "--config-dir", str(config_dir)).code == 0
    deploy.write_text("version: 1\nmodels:\n  chat: {model: nobody}\n")
    waits = xserve("plan", "--config-dir", str(config_dir))
    assert "chat waits: " in waits.out
    assert "No daemon runs" in waits.err
    deploy.write_text("version: 1\nmodels:\n  chat: {replica: 2}\n")
    rejected = xserve("plan", "--config-dir", str(config_dir))
    assert rejected.code == 1
    assert f"{deploy}:3:10: models.chat.replica: " in rejected.err


def test_a_daemon_that_was_named_must_answer(xserve: Xserve, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert xserve("plan", "--endpoint", f"http://127.0.0.1:{free_port}").code == 1
    monkeypatch.setenv("XSERVE_ENDPOINT", f"http://127.0.0.1:{free_port}")
    assert xserve("plan").code == 1

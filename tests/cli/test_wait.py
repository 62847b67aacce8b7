"""`wait`: exit codes, slices, and what is shown meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from xserve.cli.command import seconds

from . import views
from .scripted import Outcome, Script

Xserve = Callable[..., Outcome]
WAIT = ("GET", "/xserve/v1/wait")


@pytest.mark.parametrize(("outcome", "code"), [("done", 0), ("failed", 1), ("rejected", 1)])
def test_the_exit_code_tells_the_outcome(script: Script, xserve: Xserve, outcome: str, code: int) -> None:
    script.on(*WAIT, views.wait(outcome, "chat: ready"))
    ended = xserve("wait", "--model", "chat")
    assert (ended.code, ended.out + ended.err) == (code, "chat: ready\n" if code == 0 else "xserve: chat: ready\n")


def test_no_time_left_is_asked_once_and_exits_4(script: Script, xserve: Xserve) -> None:
    script.on(*WAIT, views.wait("timeout", "not ready after 0 s", views.loading()))
    ended = xserve("wait", "--timeout", "0")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.splitlines()[-1] == "xserve: not ready after 0 s: chat is starting: it loads its weights"
    assert [request.query["timeout"] for request in script.requests] == [["0.000"]]


def test_each_change_is_one_line_and_the_answer_ends_it(script: Script, xserve: Xserve) -> None:
    slow = views.wait("timeout", "", views.loading())
    slower = views.wait("timeout", "", views.loading(message="it answers the tiny request"))
    script.on(*WAIT, views.wait("timeout", ""), slow, slow, slower, views.wait("done", "chat: ready"))
    ended = xserve("wait")
    assert (ended.code, ended.out) == (0, "chat: ready\n")
    assert ended.err.splitlines() == [
        "files are not in force yet",
        "chat is starting: it loads its weights",
        "chat is starting: it answers the tiny request",
    ]


def test_what_is_asked(script: Script, xserve: Xserve) -> None:
    script.on(*WAIT, views.wait("done", ""))
    xserve("wait", "--model", "a", "--model", "b", "--generation", "aaa", "--timeout", "1.5m")
    assert script.requests[0].query == {"model": ["a", "b"], "generation": ["aaa"], "timeout": ["2.000"]}


def test_json_is_one_document_and_the_reason_is_on_stderr(script: Script, xserve: Xserve) -> None:
    script.on(*WAIT, views.wait("failed", "x: broken", views.failed()))
    ended = xserve("wait", "--json")
    assert (ended.code, json.loads(ended.out)["outcome"], ended.err) == (1, "failed", "xserve: x: broken\n")


@pytest.mark.parametrize(("text", "value"), [("600", 600), ("0.5", 0.5), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["soon", "-1", "5d", ""])
def test_a_time_that_is_none_is_a_usage_error(xserve: Xserve, text: str) -> None:
    ended = xserve("wait", f"--timeout={text}")
    assert ended.code == 2
    assert "is not a duration; write for example 600, 90s or 10m" in ended.err

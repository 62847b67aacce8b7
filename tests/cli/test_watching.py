"""`logs`, `events`, `reload`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from xserve.core.views import ReloadView

from . import views
from .scripted import Answer, Outcome, Script

Xserve = Callable[..., Outcome]
LOG = ("GET", "/xserve/v1/models/chat/log")
EVENTS = ("GET", "/xserve/v1/events")


@pytest.fixture(autouse=True)
def greenwich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local time that is the same everywhere."""
    monkeypatch.setattr(time, "localtime", time.gmtime)


def test_logs(script: Script, xserve: Xserve) -> None:
    script.on(*LOG, Answer("one\ntwö\n".encode() + b"\xff\n"))
    assert xserve("logs", "chat", "-n", "3", "--instance", "i") == Outcome(0, "one\ntwö\n\ufffd\n", "")
    assert script.requests[0].query == {"lines": ["3"], "instance": ["i"]}
    assert json.loads(xserve("logs", "chat", "--json").out) == ["one", "twö", "\ufffd"]


def test_logs_that_follow(script: Script, xserve: Xserve) -> None:
    script.on(*LOG, Answer(b"one\n"))
    followed = xserve("logs", "chat", "-f")
    assert followed.out == "one\n"
    assert script.requests[0].query == {"lines": ["100"], "follow": ["true"]}
    assert "has ended; for its successor: xserve logs -f" in followed.err
    assert xserve("logs", "chat", "-f", "--json").code == 2


def test_events(script: Script, xserve: Xserve) -> None:
    rows = [views.event(), views.event(id=2, kind="daemon", model="", reason="", message="leaves")]
    script.on(*EVENTS, {"events": rows})
    assert xserve("events", "--after", "7").out == (
        "1970-01-01 00:00:00  action chat Missing: start replica 0\n1970-01-01 00:00:00  daemon: leaves\n"
    )
    assert script.requests[0].query == {"after": ["7"]}
    assert json.loads(xserve("events", "--json").out) == rows


def test_events_that_follow(script: Script, xserve: Xserve) -> None:
    content = b": still here\n\nid: 1\nevent: action\ndata: " + json.dumps(views.event()).encode() + b"\n\n"
    script.on(*EVENTS, Answer(content))
    assert xserve("events", "-f").out == "1970-01-01 00:00:00  action chat Missing: start replica 0\n"
    assert json.loads(xserve("events", "-f", "--json").out) == views.event()
    assert script.requests[0].query == {"after": ["0"], "follow": ["true"]}


@pytest.mark.parametrize(
    ("changed", "problems", "code", "out"),
    [
        (False, [], 0, "the files did not change since the last look\nnothing to do\n"),
        (True, [views.warning()], 0, "the files changed\nnothing to do\n"),
        (True, [views.problem()], 1, "the files changed\nnothing to do\n"),
    ],
)
def test_reload_tells_the_outcome(
    script: Script, xserve: Xserve, changed: bool, problems: list[views.ProblemView], code: int, out: str
) -> None:
    view = ReloadView(changed=changed, actions=[], problems=problems, waiting=[]).model_dump(mode="json")
    script.on("POST", "/xserve/v1/reload", view)
    assert xserve("reload") == Outcome(code, out, "".join(f"{it.text}\n" for it in problems))
    assert json.loads(xserve("reload", "--json").out) == view

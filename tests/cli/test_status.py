"""`status`: the tables, as text."""

from __future__ import annotations

import json
from collections.abc import Callable

from . import views
from .scripted import Outcome, Script

Xserve = Callable[..., Outcome]

ALL = """\
xserve 0.1.0, process 99, up 1h02m; files are watched

NAME   STATE     READY  ENGINE     REVISION  SINCE  MESSAGE
chat   ready     1/1    llama_cpp  1a2b      3m20s
embed  starting  0/1    llama_cpp  1a2b      -      it loads its weights
old    ready     1/1    llama_cpp  1a2b      3m20s  an edit was rejected, the last good version is in force; \
1 replica takes requests
x      failed    0/1    llama_cpp  1a2b      1m01s  its launch failed: not a GGUF file

Problems:
  /etc/xserve/deploy.yaml:3:5: models.chat.replica: unknown key; did you mean replicas?

Notes:
  models.d: cannot be listed
"""

ONE = """\
name         chat, gpt-4
state        ready (Ready): 1 replica takes requests
ready        1 of 1 replicas
model        qwen
type         LLM
engine       llama_cpp
revision     1a2b
generation   aaa-bbb
definition   /etc/xserve/models.d/qwen.yaml
deployed by  /etc/xserve/deploy.yaml

INSTANCE     STATE  PID   GPUS  REQUESTS  SINCE  AGE    REVISION  NOTE
chat-1a2b-0  ready  4711  0,1   2         3m20s  3m23s  1a2b
"""


def test_everything_at_a_glance(script: Script, xserve: Xserve) -> None:
    models = (views.model(), views.loading(uid="embed"), views.model(uid="old", stale=True), views.failed(uid="x"))
    view = views.status(*models, problems=[views.problem()], notes=["models.d: cannot be listed"])
    script.on("GET", "/xserve/v1/status", view)
    assert xserve("status") == Outcome(0, ALL, "")


def test_nothing_is_deployed(script: Script, xserve: Xserve) -> None:
    script.on("GET", "/xserve/v1/status", views.status())
    assert xserve("status").out.endswith("\n\nNothing is deployed.\n")


def test_one_model(script: Script, xserve: Xserve) -> None:
    script.on("GET", "/xserve/v1/models/chat", views.model().model_dump(mode="json"))
    assert xserve("status", "chat") == Outcome(0, ONE, "")


def test_one_model_that_failed_shows_why(script: Script, xserve: Xserve) -> None:
    script.on("GET", "/xserve/v1/models/x", views.failed(uid="x").model_dump(mode="json"))
    assert xserve("status", "x").out.endswith(
        "\n\nLast failure 1m01s ago (NeverStarts, 1 in a row): not a GGUF file; not tried again by itself\n"
        "  loading\n  magic is wrong\n"
    )


def test_json_is_what_the_daemon_said(script: Script, xserve: Xserve) -> None:
    script.on("GET", "/xserve/v1/status", views.status(views.model()))
    assert json.loads(xserve("status", "--json").out) == views.status(views.model())


def test_a_model_is_as_it_is_since_its_last_change(script: Script, xserve: Xserve) -> None:
    """One replica was replaced five seconds ago, the other stands for minutes."""
    replicas = [views.replica(), views.replica(instance="chat-1a2b-1", ordinal=1, since=5.0)]
    script.on("GET", "/xserve/v1/status", views.status(views.model(instances=replicas, replicas=2, ready=2)))
    assert xserve("status").out.splitlines()[-1] == "chat  ready  2/2    llama_cpp  1a2b      5s"


def test_an_unknown_model(script: Script, xserve: Xserve) -> None:
    script.on("GET", "/xserve/v1/models/a%2Fb", {"detail": "no model is called a/b"}, status=404)
    assert xserve("status", "a/b") == Outcome(1, "", "xserve: no model is called a/b\n")

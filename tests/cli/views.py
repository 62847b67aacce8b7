"""Views as the daemon sends them: made by the models of the API, so that their shape cannot drift."""

from __future__ import annotations

from typing import Any

from xserve.core.views import (
    ActionView,
    EventView,
    FailureView,
    ModelView,
    PlanView,
    ProblemView,
    ReplicaView,
    StatusView,
    WaitingView,
    WaitView,
)


def replica(**more: Any) -> ReplicaView:
    """A ready one."""
    return ReplicaView(
        **{
            "instance": "chat-1a2b-0", "ordinal": 0, "state": "ready", "revision": "1a2b", "pid": 4711, "since": 200.0,
            "age": 203.4, "in_flight": 2, "gpus": [0, 1], "log": "/run/log", **more,
        }
    )  # fmt: skip


def model(**more: Any) -> ModelView:
    """A ready one."""
    return ModelView(
        **{
            "uid": "chat", "state": "ready", "reason": "Ready", "message": "1 replica takes requests", "model": "qwen",
            "model_type": "LLM", "engine": "llama_cpp", "aliases": ["gpt-4"], "request_limit": None, "replicas": 1,
            "ready": 1, "revision": "1a2b", "running": ["1a2b"], "generation": "aaa-bbb",
            "definition_path": "/etc/xserve/models.d/qwen.yaml", "deploy_path": "/etc/xserve/deploy.yaml",
            "stale": False, "layer": "admin", "instances": [replica()], **more,
        }
    )  # fmt: skip


def loading(**more: Any) -> ModelView:
    """One that is on its way."""
    words = {"state": "starting", "reason": "Loading", "message": "it loads its weights", "ready": 0, "instances": []}
    return model(**{**words, **more})


def failed(**more: Any) -> ModelView:
    """One that gave up."""
    failure = FailureView(
        reason="NeverStarts", message="not a GGUF file", failures=1, seconds_ago=61.0, retry_in=None,
        log_tail=["loading", "magic is wrong"],
    )  # fmt: skip
    words = {"state": "failed", "reason": "NeverStarts", "message": "its launch failed: not a GGUF file", "ready": 0}
    return model(**{**words, "instances": [], "failure": failure, **more})


def problem(**more: Any) -> ProblemView:
    """An error in a file."""
    return ProblemView(
        **{
            "path": "/etc/xserve/deploy.yaml", "line": 3, "column": 5, "field": "models.chat.replica",
            "message": "unknown key; did you mean replicas?", "severity": "error",
            "text": "/etc/xserve/deploy.yaml:3:5: models.chat.replica: unknown key; did you mean replicas?", **more,
        }
    )  # fmt: skip


def warning() -> ProblemView:
    """Something that is accepted all the same."""
    return problem(severity="warning", text="/etc/xserve/models.d/x.yaml:1:1: warning: weights are not there")


def status(*models: ModelView, **more: Any) -> dict[str, Any]:
    """Everything at a glance."""
    view = StatusView(
        **{
            "version": "0.1.0", "pid": 99, "uptime": 3725.0, "config": {}, "watching": "files are watched",
            "settled": True, "passes": 7, "registrations": 1,
            "models": list(models), "problems": [], "notes": [], **more,
        }
    )  # fmt: skip
    return view.model_dump(mode="json")


def plan(*actions: ActionView, waiting: tuple[WaitingView, ...] = (), problems: tuple[ProblemView, ...] = ()) -> Any:
    """A plan."""
    return PlanView(actions=list(actions), waiting=list(waiting), problems=list(problems)).model_dump(mode="json")


def start() -> ActionView:
    """One replica is started."""
    return ActionView(action="start", model="chat", reason="1 of 1 replicas is missing", revision="1a2b", replica=0)


def wait(outcome: str, message: str, *models: ModelView) -> dict[str, Any]:
    """The outcome of waiting."""
    return WaitView(outcome=outcome, message=message, models=list(models), problems=[]).model_dump(mode="json")


def event(**more: Any) -> dict[str, Any]:
    """Something that happened at the epoch."""
    words = {"id": 1, "time": 0.0, "kind": "action", "model": "chat", "reason": "Missing", "message": "start replica 0"}
    return EventView(**{**words, **more}).model_dump(mode="json")

"""What the API and the command line show: pydantic models, so that the OpenAPI document has their shapes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _View(BaseModel):
    model_config = ConfigDict(defer_build=True)


class ProblemView(_View):
    """Something that a person should mend."""

    path: str
    line: int = Field(description="counts from 1; 0: the document as a whole")
    column: int
    field: str
    message: str
    severity: str
    text: str = Field(description="all of it in one line: path:line:column: field: message")


class ReplicaView(_View):
    """One process tree."""

    instance: str
    ordinal: int
    state: str = Field(description="starting, probing, ready, draining, drained, unhealthy or stopping")
    revision: str
    pid: int | None = Field(description="of the engine's first process; null: not spawned yet")
    since: float = Field(description="seconds that it is in this state")
    age: float = Field(description="seconds since it was started")
    in_flight: int = Field(description="requests that it works on")
    gpus: list[int]
    log: str = Field(description="path of its log file")
    note: str = ""


class FailureView(_View):
    """The last failure of the wanted revision."""

    reason: str
    message: str
    failures: int = Field(description="in a row")
    seconds_ago: float
    retry_in: float | None = Field(description="seconds; null: not tried again by itself")
    log_tail: list[str]


class ModelView(_View):
    """One deployment."""

    uid: str
    state: str = Field(description="ready, updating, starting, waiting, backoff, failed, stopping or disabled")
    reason: str = Field(description="a code of the closed list; Ready where all is as wanted")
    message: str
    model: str = Field(description="name of the registration")
    model_type: str
    engine: str
    aliases: list[str]
    request_limit: int | None
    replicas: int = Field(description="wanted")
    ready: int = Field(description="replicas that take requests, of whatever revision")
    revision: str = Field(description="digest of what should run; empty where that cannot be told")
    running: list[str] = Field(description="revisions that take requests")
    generation: str = Field(description="hash of the accepted definition and deploy entry; formatting does not count")
    definition_path: str
    deploy_path: str
    stale: bool = Field(description="the last edit of one of its files was rejected; the last good version serves")
    layer: str
    failures: int = Field(default=0, description="replicas that ended by themselves since the daemon started")
    instances: list[ReplicaView]
    failure: FailureView | None = None


class StatusView(_View):
    """Everything at a glance."""

    version: str
    pid: int
    uptime: float = Field(description="seconds")
    config: dict[str, str] = Field(description="where definitions and deploy files are read from and written to")
    watching: str = Field(description="how changes of files are noticed, in words")
    settled: bool = Field(description="every deployment is as wanted, nothing is under way and nothing is rejected")
    passes: int = Field(description="how often the daemon has compared what is wanted with what there is")
    registrations: int
    models: list[ModelView]
    problems: list[ProblemView]
    notes: list[str] = Field(description="sources that cannot be read, holds, and other things to know")


class ActionView(_View):
    """One action of a plan."""

    action: str = Field(description="publish, withdraw, start, drain or stop")
    model: str
    reason: str
    revision: str | None = None
    replica: int | None = None
    instance: str | None = None


class WaitingView(_View):
    """A deployment that the plan leaves waiting."""

    model: str
    reason: str
    message: str


class PlanView(_View):
    """What the daemon would do."""

    actions: list[ActionView]
    waiting: list[WaitingView]
    problems: list[ProblemView]


class ReloadView(_View):
    """The outcome of a reload."""

    changed: bool = Field(description="whether the files said something new")
    actions: list[ActionView] = Field(description="what was begun at once")
    problems: list[ProblemView]
    waiting: list[WaitingView]


class EventView(_View):
    """Something that happened."""

    id: int
    time: float = Field(description="seconds since the epoch")
    kind: str = Field(description="action, state, files, environment, problem, request or daemon")
    model: str = ""
    reason: str = ""
    message: str
    data: dict[str, Any] = {}


class EngineVerdictView(_View):
    """What an engine says to one set of weights."""

    engine: str
    format: str
    size: str
    quantization: str
    able: bool
    taken: bool = Field(description="where a deploy entry names no engine")
    reason: str = Field(description="why not, or what has to be done first; empty where it can now")


class EngineView(_View):
    """An engine on this machine."""

    name: str
    title: str
    description: str
    installed: bool
    readiness: str = Field(description="installed, missing, absent (xserve can make it), making or failed")
    backend: str
    reason: str = Field(description="how to install it; empty where it is installed")
    serves: list[dict[str, Any]]
    folder: str


class LogView(_View):
    """Last lines of an instance's log."""

    model: str
    instance: str
    path: str
    lines: list[str]


class WaitView(_View):
    """The outcome of waiting."""

    outcome: str = Field(description="done, failed, rejected or timeout")
    message: str
    models: list[ModelView]
    problems: list[ProblemView]


class Candidate(_View):
    """A file that does not stand in the config directory yet, for `plan`."""

    path: str = Field(description="where it would stand; decides what it replaces")
    text: str = Field(description="its content")

"""The whole application on a real socket, over a daemon that lives in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest

from xserve.core.actions import Explanation
from xserve.core.deploy import entries_of
from xserve.core.desired import Deployment, Desired, Means, Order, Registration, Weights
from xserve.core.engines import Engine, Gates, verdicts
from xserve.core.judge import judge
from xserve.core.lifecycle import Instance, State
from xserve.core.manifest import Backend, Manifest, Serves
from xserve.core.observed import Observed
from xserve.core.reasons import Reason
from xserve.core.refused import Kind, Refused
from xserve.core.resolve import resolve
from xserve.core.status import Gauges, model_views
from xserve.core.views import (
    Candidate,
    EngineVerdictView,
    EngineView,
    EventView,
    LogView,
    ModelView,
    PlanView,
    ReloadView,
    StatusView,
    WaitView,
)
from xserve.http.app import build_app
from xserve.http.listener import Listener
from xserve.http.proxy import Proxy
from xserve.http.traffic import Traffic
from xserve.http.upstream import Upstream

ENGINES = [
    Engine(
        Manifest(
            name="llama_cpp",
            title="llama.cpp",
            description="GGUF",
            serves=(
                Serves(type="LLM", formats=("ggufv2",), lora=True),
                Serves(type="embedding", formats=("ggufv2",)),
                Serves(type="rerank", formats=("ggufv2",)),
                Serves(type="image"),
                Serves(type="audio"),
                Serves(type="flexible"),
            ),
            command=("{python}",),
        ),
        "/engines/llama_cpp",
        "",
    ),
    Engine(
        Manifest(
            name="vllm",
            title="vLLM",
            description="GPUs",
            serves=(Serves(type="LLM", formats=("pytorch",)),),
            backends=(Backend(name="vllm", module="vllm", install="pip install vllm"),),
            command=("{python}",),
        ),
        "/engines/vllm",
        None,
    ),
]
_SPEC = {"model_format": "ggufv2", "quantization": "q4", "model_uri": "/w/model.gguf"}
DEFINITIONS: dict[str, dict[str, Any]] = {
    "LLM": {
        "model_name": "tiny",
        "context_length": 512,
        "model_lang": ["en"],
        "model_ability": ["chat", "generate"],
        "model_family": "tiny",
        "model_specs": [
            {**_SPEC, "quantization": "q8", "model_size_in_billions": 7},
            {**_SPEC, "model_size_in_billions": "0_5", "model_revision": "main"},
        ],
    },
    "embedding": {
        "model_name": "vectors",
        "dimensions": 8,
        "max_tokens": 64,
        "language": ["en"],
        "model_specs": [_SPEC],
    },
    "rerank": {"model_name": "order", "language": ["en"], "max_tokens": 64, "model_specs": [_SPEC]},
    "image": {"model_name": "pictures", "model_family": "stable_diffusion", "model_uri": "/w/pictures"},
    "audio": {"model_name": "voice", "model_family": "whisper", "multilingual": True, "model_uri": "/w/voice"},
    "flexible": {"model_name": "any", "launcher": "package.Launcher", "model_uri": "/w/any"},
}


@dataclass
class MemoryControl:
    """A daemon without files or processes: what is deployed is ready at once, unless `coming` says why not."""

    found: dict[tuple[str, str], Registration] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    coming: dict[str, Explanation] = field(default_factory=dict)
    happened: list[EventView] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    refuses: Exception | None = None
    is_turning: bool = True
    is_accepting: bool = True
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    def add_definition(self, model_type: str, layer: str = "admin", **changes: Any) -> None:
        verdict = judge("model", {**DEFINITIONS[model_type], **changes, "model_type": model_type})
        assert verdict.value, verdict.faults
        name = verdict.value["model_name"]
        self.found[(model_type, name)] = Registration(model_type, name, verdict.value, layer, f"{name}.yaml", "g")

    def add_entry(self, uid: str, layer: str = "runtime", **entry: Any) -> None:
        self.orders[uid] = Order(uid, entries_of({"version": 1, "models": {uid: entry}})[uid], layer, "d.yaml", "g")

    # --- Control ---

    def turning(self) -> bool:
        return self.is_turning

    def accepting(self) -> bool:
        return self.is_accepting

    def status(self) -> StatusView:
        return StatusView(
            version="1.2.3",
            pid=1,
            uptime=5.0,
            config={"directory": "/c"},
            watching="by inotify",
            settled=True,
            passes=3,
            registrations=len(self.found),
            models=self._views(),
            problems=[],
            notes=[],
        )

    def model(self, name: str) -> ModelView | None:
        return next((view for view in self._views() if name in (view.uid, *view.aliases)), None)

    def deployment(self, name: str) -> Deployment | None:
        return self._desired().deployments.get(name)

    def registrations(self, model_type: str) -> list[Registration]:
        return [each for (kind, _), each in self.found.items() if kind == model_type]

    def registration(self, model_type: str, name: str) -> Registration | None:
        return self.found.get((model_type, name))

    def engines(self) -> list[EngineView]:
        return [
            EngineView(
                name=engine.manifest.name,
                title=engine.manifest.title,
                description=engine.manifest.description,
                installed=engine.installed,
                readiness=engine.readiness,
                backend=engine.backend or "",
                reason=engine.missing,
                serves=[],
                folder=engine.folder,
            )
            for engine in ENGINES
        ]

    def verdicts(self, model: str, model_type: str | None) -> list[EngineVerdictView] | None:
        found = [each for (kind, name), each in self.found.items() if name == model and model_type in (None, kind)]
        if not found:
            return None
        return [
            EngineVerdictView(
                engine=each.engine,
                format=each.format,
                size=each.size,
                quantization=each.quantization,
                able=each.able,
                taken=each.taken,
                reason=each.reason,
            )
            for each in verdicts(found[0].definition, ENGINES, Gates())
        ]

    async def register(self, model_type: str, text: str, *, persist: bool) -> None:
        self._called("register", (model_type, text, persist))

    async def unregister(self, model_type: str, name: str) -> None:
        self._called("unregister", (model_type, name))
        self.found.pop((model_type, name), None)

    async def launch(self, uid: str | None, entry: dict[str, Any], *, persist: bool, wait_ready: bool) -> str:
        uid = uid or entry["model"]
        self._called("launch", {"uid": uid, "persist": persist, "wait_ready": wait_ready})
        self.calls.append(("entry", entry))
        verdict = judge("deploy", {"version": 1, "models": {uid: entry}})
        if verdict.value is None:
            raise Refused(Kind.INVALID, str(verdict.faults[0].message))
        self.add_entry(uid, **entry)
        return uid

    async def terminate(self, uid: str) -> None:
        self._called("terminate", uid)
        if self.orders[uid].layer == "admin":
            raise Refused(Kind.OWNED, f"{uid} is owned by the file {self.orders[uid].path}; remove it there")
        del self.orders[uid]

    async def reload(self) -> ReloadView:
        self._called("reload", None)
        return ReloadView(changed=True, actions=[], problems=[], waiting=[])

    async def plan(self, candidates: Sequence[Candidate]) -> PlanView:
        self._called("plan", list(candidates))
        return PlanView(actions=[], waiting=[], problems=[])

    async def wait(self, names: Sequence[str], generation: str | None, timeout: float) -> WaitView:
        self._called("wait", (list(names), generation, timeout))
        if "never" in names:
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.abandoned.set()
                raise
        return WaitView(outcome="done", message="all is as wanted", models=self._views(), problems=[])

    def events(self, after: int) -> list[EventView]:
        return [event for event in self.happened if event.id > after]

    async def follow_events(self, after: int) -> AsyncIterator[EventView]:
        for event in self.events(after):
            yield event
        try:
            while event := await self.news.get():
                yield event
        except asyncio.CancelledError:
            self.abandoned.set()
            raise

    def log(self, uid: str, instance: str | None, lines: int) -> LogView:
        if uid not in self.orders:
            raise Refused(Kind.UNKNOWN, f"nothing has run under the name {uid!r} yet, so there is no log")
        kept = ["first", "zweite ✓", "third"]
        return LogView(model=uid, instance=instance or f"{uid}-0", path="/log", lines=kept[-lines:] if lines else [])

    async def follow_log(self, uid: str, instance: str | None, lines: int) -> AsyncIterator[str]:
        for line in self.log(uid, instance, lines).lines:
            yield line
        while line := await self.news.get():
            yield line

    # --- inside ---

    def _called(self, name: str, what: Any) -> None:
        self.calls.append((name, what))
        if self.refuses is not None:
            raise self.refuses

    def _desired(self) -> Desired:
        return resolve(self.found, self.orders, Means(ENGINES, lambda path, form: Weights("file", chat_template=True)))

    def _views(self) -> list[ModelView]:
        desired = self._desired()
        instances = {
            uid: Instance(f"{uid}-0", uid, each.revision, 0, State.READY, since=1.0, started=0.0, gpus=(3,))
            for uid, each in desired.deployments.items()
            if uid not in self.coming
        }
        gauges = Gauges(in_flight=lambda _: 0, log=lambda _: "/log")
        return model_views(desired, Observed(instances), self.coming, 10.0, gauges)


@dataclass
class Surface:
    """The application and what it stands on."""

    control: MemoryControl
    traffic: Traffic
    proxy: Proxy
    listener: Listener
    http: httpx2.AsyncClient

    @property
    def url(self) -> str:
        return f"http://{self.listener.address}"

    def serve(self, uid: str, address: str) -> None:
        """Let an engine's socket answer for a deployment, as the loop would."""
        deployment = self.control.deployment(uid)
        assert deployment
        self.traffic.publish(uid, deployment.exposure)
        self.traffic.set_endpoints(uid, [(f"{uid}-0", address)])

    def load(self, uid: str, reason: Reason, sentence: str) -> None:
        """Say that a deployment is not ready."""
        self.control.coming[uid] = Explanation(reason, sentence)


@pytest.fixture
def control() -> MemoryControl:
    """One definition of each type, the LLM deployed as `chat` with an alias."""
    made = MemoryControl()
    for model_type in DEFINITIONS:
        made.add_definition(model_type)
    made.add_entry("chat", model="tiny", size="0_5", aliases=["gpt-3.5-turbo"], replicas=1)
    return made


@pytest.fixture
async def surface(control: MemoryControl, listen: Callable[..., Awaitable[Listener]]) -> AsyncIterator[Surface]:
    traffic = Traffic(on_drained=lambda _: None)
    upstream = Upstream()
    proxy = Proxy(traffic, upstream)
    app = build_app(control, proxy, engine_metrics={"llama_cpp": "/metrics"})
    listener = await listen(app)
    async with httpx2.AsyncClient(
        base_url=f"http://{listener.address}", timeout=60, trust_env=False, verify=False
    ) as http:
        yield Surface(control, traffic, proxy, listener, http)
    upstream.close()


@pytest.fixture
def owned(control: MemoryControl) -> MemoryControl:
    """The deployment `chat` belongs to a file of the admin layer."""
    control.orders["chat"] = replace(control.orders["chat"], layer="admin", path="/etc/deploy.yaml")
    return control

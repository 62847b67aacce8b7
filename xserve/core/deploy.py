"""The deploy file: which registrations are served, under which names, and how.

Unknown keys are errors. Keys that this version does not honour yet are refused as such, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from xserve.core.text import Memory, Name, Size, Text, Uid, Uri, Variable, VariableValue, in_one_sentence

_GATE = "this is a gate, which only xserve.yaml can open"
_LATER = "not supported yet"

GATES = frozenset(
    [
        "trust_remote_code",
        "allow_remote_code",
        "allow_custom_launchers",
        "launcher_dirs",
        "engine_dirs",
        "allow_package_install",
        "model_roots",
        "allow_env",
        "allow_args",
        "media_fetch",
        "hub_sources",
        "insecure_no_auth",
    ]
)
"""Keys that decide what files and callers may do; only the daemon's own settings may say so."""

FORBIDDEN: dict[str, str] = {
    **dict.fromkeys(GATES, _GATE),
    "node": f"{_LATER}: replicas on other machines",
    "idle_timeout": f"{_LATER}: models stay loaded",
    "pinned": f"{_LATER}: nothing is ever evicted, so every model is pinned",
    "virtualenv": f"{_LATER}: models share the environment of their engine",
}
"""Keys that are refused with a reason of their own."""


def _only_always(value: Any) -> Any:
    if value == "on_demand":
        raise ValueError("'on_demand' is not supported yet; use always")
    return value


def _only_new_first(value: Any) -> Any:
    if value == "old_first":
        raise ValueError("'old_first' is not supported yet; use new_first")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


def _different(indices: list[int]) -> list[int]:
    if len(set(indices)) < len(indices):
        raise ValueError("names a GPU twice")
    return indices


Count = Annotated[int, Field(ge=0)]
Gpus = Annotated[
    Literal["auto", "none"] | Count | Annotated[list[Count], AfterValidator(_different)],
    in_one_sentence("must be auto, none, a number of GPUs, or a list of different GPU indices"),
]


def _distinct(adapters: list[Adapter]) -> list[Adapter]:
    names = [each.name for each in adapters]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two adapters are called {twice!r}; each needs a name of its own")
    return adapters


class Adapter(_Strict):
    """A LoRA adapter on top of the model."""

    name: Uid
    """Public name: what clients put in `model` to get it."""
    path: Uri
    """Absolute path of the adapter, bare or `file://`."""


class Defaults(_Strict):
    """What entries that do not say otherwise get."""

    engine: Text | None = None
    """Engine; none: the best installed one that can serve the weights."""
    replicas: Annotated[int, Field(ge=0, le=64)] = 1
    """Process trees to run; 0: none, the name answers 503."""
    gpus: Gpus = "auto"
    """GPUs per replica: `auto`, `none`, a count, or indices that are divided evenly over the replicas."""
    gpu_memory: Memory | None = None
    """What a replica may use of each of its GPUs, e.g. `14GiB`, or 0.45 of it; none: the engine's default."""
    load: Annotated[Literal["always"], BeforeValidator(_only_always)] = "always"
    """When it is loaded."""
    update: Annotated[Literal["auto", "new_first"], BeforeValidator(_only_new_first)] = "auto"
    """Order of a change: the new replica first, the old one stopped after the new one is ready."""
    request_limit: Annotated[int, Field(ge=1)] | None = None
    """Concurrent requests per replica, then 429; none: no limit of ours."""
    env: dict[Variable, VariableValue] = {}
    """Environment of the engine; an entry's own wins key by key."""


class Entry(Defaults):
    """One deployment. Its key in `models` is the public name."""

    model: Name | None = None
    """Name of the registration; none: the public name."""
    type: Literal["LLM", "embedding", "rerank", "image", "audio", "flexible"] | None = None
    """Needed only when two types have a registration of that name."""
    path: Uri | None = None
    """Weights to use in place of those that the definition names; none: the definition's."""
    format: Text | None = None
    """Selects the spec; none: any."""
    size: Size | None = None
    """model_size_in_billions, as text; selects the spec; none: any."""
    quantization: Text | None = None
    """Selects the spec; none: any."""
    aliases: list[Uid] = []
    """Further public names."""
    lora: Annotated[list[Adapter], AfterValidator(_distinct)] = []
    """LoRA adapters, each with a public name of its own."""
    options: dict[str, Any] = {}
    """For the engine; checked against the schema in its manifest."""


class DeployFile(_Strict):
    """A deploy file."""

    version: Literal[1]
    """Version of this format."""
    defaults: Defaults | None = None
    """What entries of this file that do not say otherwise get; none: the built-in defaults."""
    models: dict[Uid, Entry | None] | None = None
    """Public name -> deployment; nothing after the name: all defaults; none: no deployments."""


def entries_of(value: dict[str, Any]) -> dict[str, Entry]:
    """The entries of an accepted deploy file, defaults applied."""
    file = DeployFile.model_validate(value)
    defaults = file.defaults or Defaults()
    return {uid: _complete(defaults, entry or Entry()) for uid, entry in (file.models or {}).items()}


def _complete(defaults: Defaults, entry: Entry) -> Entry:
    given = defaults.model_dump(exclude_unset=True)
    own = entry.model_dump(exclude_unset=True)
    env = {**given.get("env", {}), **own.get("env", {})}
    return Entry.model_validate({**given, **own, "env": env})

"""What an engine declares about itself in `engine.yaml`. The contract in words: engines/README.md."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ModelType = Literal["LLM", "embedding", "rerank", "image", "audio", "flexible"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Silence(_Strict):
    """Half a second of silence, as a WAV file in a multipart form."""

    field: str = "file"
    """Name of the form's field that holds it."""


class Probe(_Strict):
    """The tiny real request that proves a replica ready. A 200 answer is the proof."""

    path: str
    """Path that is asked by POST."""
    body: dict[str, Any] = {}
    """JSON body, or the form's other fields; the string "{uid}" stands for the served name."""
    silence: Silence | None = None
    """Sent as a form, with this file in it; none: sent as JSON."""
    option: str | None = None
    """Option of the deployment whose value is sent in place of `body`; left out there: nothing is sent."""


class Serves(_Strict):
    """One kind of model that the engine can serve."""

    type: ModelType
    """Model type."""
    formats: tuple[str, ...] = ()
    """Formats of the weights, e.g. `ggufv2`; empty: the type has no format."""
    families: tuple[str, ...] = ()
    """Patterns, in lower case, of the `model_family` of image and audio models; empty: any."""
    launchers: tuple[str, ...] = ()
    """Patterns of the `launcher` of flexible models; empty: any."""
    abilities: tuple[str, ...] = ()
    """Abilities of the definition that it honours, e.g. `chat`, `tools`; empty: the type has none to choose by."""
    preference: int = 0
    """Of engines that can serve a model the one with the highest is taken."""
    lora: bool = False
    """Whether it takes LoRA adapters."""
    weights: Literal["file", "directory", "any", "none"] = "any"
    """What the weights' path must be; `none`: the model may have no weights."""
    ignores: dict[str, str] = {}
    """Members of a request that its server would ignore, each with a sentence: such a request is refused."""
    holds: tuple[str, ...] = ()
    """Patterns of file names of which a directory of weights must hold one; empty: any directory."""
    probe: Probe | None = None
    """How a replica is proved ready; none: by `health` alone."""


Accelerator = Literal["any", "cpu", "cuda"]


class Backend(_Strict):
    """One library or program that can do the work, and how to get it.

    Taken is the first one that is installed beside xserve or has its environment made; else the first one whose
    environment can be made.
    """

    name: str
    """Name for logs and for `{backend}` in the command."""
    module: str | None = Field(default=None, pattern=r"^\w+$")
    """Importable module that tells that it is installed (looked up, never imported)."""
    program: str | None = None
    """Program on PATH that tells that it is installed."""
    accelerator: Accelerator = "any"
    """Machines that it is made for: `cuda` has an NVIDIA card, `cpu` has none."""
    packages: tuple[str, ...] = ()
    """Pinned requirements of an environment of its own; empty: xserve cannot install it."""
    without: tuple[str, ...] = ()
    """Packages that requirements ask for and that are left out of the environment."""
    only_when_named: bool = False
    """With this backend the engine is never chosen by itself, only where a deploy entry names it."""
    install: str = ""
    """What a person types to get it, where xserve cannot."""


class Manifest(_Strict):
    """An engine's `engine.yaml`."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """What a deploy entry calls it."""
    title: str
    """Name for people, e.g. `llama.cpp`. Xinference's spelling where it has one."""
    description: str
    """What it serves and what for, in a sentence or two."""
    serves: tuple[Serves, ...]
    """Kinds of model that it can serve."""
    backends: tuple[Backend, ...] = ()
    """Empty: nothing but the interpreter is needed."""
    command: tuple[str, ...]
    """Argument list. `{python}`, `{folder}`, `{launch}` (launch file), `{socket}` and `{backend}` are filled in."""
    env: dict[str, str] = {}
    """Environment that every replica gets; a deploy entry's `env` wins."""
    options: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    """JSON Schema of what users may put under `options`."""
    request_defaults: tuple[Literal["stop", "stop_token_ids"], ...] = ()
    """Definition fields that its server cannot take at launch: the gateway adds them to a request that lacks them."""
    health: str = "/health"
    """Path that answers 200 once the weights are loaded."""
    metrics: str | None = None
    """Path of Prometheus text, if it has one."""
    gpu_memory: bool = False
    """Whether it keeps to the `gpu_memory` of a deploy entry; an entry that gives one to another engine is refused."""
    adapters: dict[str, Any] | None = None
    """Members that a request for a LoRA adapter gets, with "{index}" for its place; none: it is asked by its name."""
    never_start: dict[int, str] = {}
    """Exit codes that mean "will never start with these parameters", each with a sentence: not retried."""
    stop_grace: float = 10.0
    """Seconds between SIGTERM and SIGKILL of the whole tree."""
    only_when_named: bool = False
    """Never chosen by itself, only where a deploy entry names it."""

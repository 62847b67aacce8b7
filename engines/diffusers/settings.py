"""What a pipeline is to be run with: the definition, the options and the launch file, put together.

`default_model_config` of the definition takes the same names as the options, and an option wins over it. Nothing
else reaches the library's loader, so a definition can ask for nothing that this table does not have.
`torch_dtype` is the name that definitions in the wild use for `dtype`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from xserve_engine.launch import BAD_DEFINITION, BAD_OPTION, NO_WEIGHTS, Refusal, Start, require_weights

TASKS = ("text2image", "image2image", "inpainting")
ALIASES = {"torch_dtype": "dtype"}


@dataclass(frozen=True, slots=True)
class Option:
    """What a setting may be. `default` None: left to the weights or to the library."""

    kind: type
    default: Any = None
    choices: tuple[Any, ...] = ()
    least: int = 0

    def fits(self, value: object) -> bool:
        """Whether the value is of this kind and within its bounds."""
        if type(value) is not self.kind or (self.choices and value not in self.choices):
            return False
        return self.kind is not int or value >= self.least  # type: ignore[operator]

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        return {int: f"a whole number from {self.least} on", bool: "true or false"}.get(self.kind, "a text")


OPTIONS = {
    "device": Option(str, "auto", ("auto", "cpu", "cuda")),
    "dtype": Option(str, "auto", ("auto", "float32", "float16", "bfloat16")),
    "variant": Option(str),
    "safety_checker": Option(bool, True),
    "controlnet": Option(str),
    "scheduler": Option(str),
    "cpu_offload": Option(str, "none", ("none", "model", "sequential")),
    "attention_slicing": Option(bool, False),
    "vae_slicing": Option(bool, False),
    "vae_tiling": Option(bool, False),
    "batch_size": Option(int, 4, least=1),
    "max_images": Option(int, 10, least=1),
    "max_side": Option(int, 2048, least=64),
    "max_steps": Option(int, 500, least=1),
    "max_queue": Option(int, 64, least=1),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the engine needs to know."""

    uid: str
    socket: str
    weights: Path
    options: Mapping[str, Any]  # all of `OPTIONS`, with what was chosen
    abilities: frozenset[str] = frozenset()  # tasks that the definition declares; none: all that the pipeline can
    requests: Mapping[str, Any] = field(default_factory=dict)  # what a request takes that does not say otherwise
    adapters: Mapping[str, Path] = field(default_factory=dict)
    control: Path | None = None  # the folder of the ControlNet that is to guide
    remote_code: bool = False
    gpus: int = 0
    gpu_memory: int | float | None = None  # bytes, or a share of each card


def settle(start: Start) -> Settings:
    """The settings of this start. Raises `Refusal` with a sentence for what can never work."""
    definition = start.definition
    given = _renamed(definition.get("default_model_config") or {})
    _check(given, BAD_DEFINITION, "default_model_config has no member")
    _check(start.options, BAD_OPTION, "There is no option")
    options = {name: option.default for name, option in OPTIONS.items()} | given | dict(start.options)
    return Settings(
        uid=start.uid,
        socket=start.socket,
        weights=require_weights(start),
        options=options,
        abilities=frozenset(definition.get("model_ability") or ()) & frozenset(TASKS),
        requests=definition.get("default_generate_config") or {},
        adapters={adapter["name"]: adapter_file(Path(adapter["path"])) for adapter in start.lora},
        control=control_folder(options["controlnet"], definition.get("controlnet") or []),
        remote_code=start.remote_code,
        gpus=start.gpus,
        gpu_memory=start.gpu_memory,
    )


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Under our names, and the names of torch's types without their module."""
    named = {ALIASES.get(name, name): value for name, value in given.items() if value is not None}
    if isinstance(dtype := named.get("dtype"), str):
        named["dtype"] = dtype.removeprefix("torch.")
    return named


def _check(given: Mapping[str, Any], code: int, unknown: str) -> None:
    for name, value in given.items():
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, [*OPTIONS, *ALIASES], n=1)
            raise Refusal(code, f"{unknown} {name}." + (f" Did you mean {near[0]}?" if near else ""))
        if not OPTIONS[name].fits(value):
            raise Refusal(code, f"{name} must be {OPTIONS[name]}, not {value!r}.")


def adapter_file(path: Path) -> Path:
    """The file of a LoRA adapter's weights: `path` itself, or the one in that folder."""
    if path.is_file():
        return path
    found = sorted(path.glob("*.safetensors"))
    usual = [file for file in found if file.name == "pytorch_lora_weights.safetensors"]
    if len(usual or found) != 1:
        raise Refusal(NO_WEIGHTS, f"The adapter's path must be a safetensors file or a folder with one: {path}.")
    return (usual or found)[0]


def control_folder(name: str | None, declared: list[Mapping[str, Any]]) -> Path | None:
    """The folder of the ControlNet that the definition declares under this name."""
    if name is None:
        return None
    found = {one.get("model_name"): one for one in declared}
    if name not in found:
        names = ", ".join(map(str, found)) or "none"
        raise Refusal(BAD_OPTION, f"The definition declares no controlnet {name}; it declares: {names}.")
    uri = urlsplit(str(found[name].get("model_uri") or ""))
    folder = Path(unquote(uri.path))
    if uri.scheme not in ("", "file") or not folder.is_dir():
        raise Refusal(
            NO_WEIGHTS, f"The model_uri of the controlnet {name} must be the folder of its weights: {folder}."
        )
    return folder

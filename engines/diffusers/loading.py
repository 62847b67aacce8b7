"""Loading a pipeline from its folder. The index in it names the class: there is nothing to choose.

What goes wrong for good (a class that is not there, weights that do not fit) is a `Refusal`; anything else, such as
a card without room, is an ordinary crash.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError
from settings import Settings
from xserve_engine.launch import BAD_DEFINITION, BAD_OPTION, BAD_WEIGHTS, NO_BACKEND, Refusal

TROUBLE = (OSError, ValueError, KeyError, AttributeError, TypeError, SafetensorError)  # what the loader raises


def load(settings: Settings, index: Mapping[str, Any]) -> Any:
    """The pipeline of that index, on its device, ready to be called. Raises `Refusal`."""
    device = choose_device(settings)
    dtype = choose_dtype(settings.options["dtype"], device)
    pipeline = _assemble(settings, index, device, dtype)
    _check_call(pipeline, settings.weights)
    if settings.control:
        pipeline = _guide(pipeline, settings.control, dtype)
    _load_adapters(pipeline, settings)
    _place(pipeline, settings, device)
    _save_memory(pipeline, settings)
    pipeline.set_progress_bar_config(disable=True)  # the log is no terminal
    print(f"diffusers {diffusers.__version__}: {type(pipeline).__name__}, {dtype}, on {device}.", flush=True)
    return pipeline


def choose_device(settings: Settings) -> str:
    """`cuda` if it was asked for or is there. Refuses one that is not."""
    asked, there = settings.options["device"], torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise Refusal(BAD_OPTION, "The option device says cuda, but torch sees no card.")
    if asked == "cpu" or not there:
        return "cpu"
    return "cuda"


def choose_dtype(name: str, device: str) -> torch.dtype:
    """The type of the numbers; unless named, 16 bits with the range of 32 on a card, 32 bits on a processor."""
    auto = torch.bfloat16 if device == "cuda" else torch.float32
    return auto if name == "auto" else getattr(torch, name)


def _assemble(settings: Settings, index: Mapping[str, Any], device: str, dtype: torch.dtype) -> Any:
    left_out = {} if settings.options["safety_checker"] or "safety_checker" not in index else _UNCHECKED
    spread = {"device_map": "balanced"} if device == "cuda" and settings.gpus > 1 else {}
    try:
        return diffusers.DiffusionPipeline.from_pretrained(
            settings.weights,
            dtype=dtype,
            variant=settings.options["variant"],
            trust_remote_code=settings.remote_code,
            local_files_only=True,
            **left_out,
            **spread,
        )
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"The pipeline needs a package that is missing: {_line(error)}") from error
    except TROUBLE as error:
        raise Refusal(BAD_WEIGHTS, f"The pipeline in {settings.weights} cannot be loaded: {_line(error)}") from error


_UNCHECKED = {"safety_checker": None, "requires_safety_checker": False}


def _line(error: Exception) -> str:
    """The error's first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_call(pipeline: Any, folder: Path) -> None:
    """Refuse a pipeline that makes something else than pictures of a prompt."""
    taken = inspect.signature(pipeline.__call__).parameters
    if "prompt" not in taken or "num_frames" in taken or "audio_length_in_s" in taken:
        raise Refusal(BAD_WEIGHTS, f"{type(pipeline).__name__} does not draw pictures from a prompt: {folder}.")


def _guide(pipeline: Any, folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline of this family that a ControlNet guides."""
    try:
        kind = json.loads((folder / "config.json").read_bytes())["_class_name"]
        network = getattr(diffusers, kind).from_pretrained(folder, dtype=dtype, local_files_only=True)
        return diffusers.AutoPipelineForText2Image.from_pipe(pipeline, controlnet=network)
    except TROUBLE as error:
        raise Refusal(BAD_WEIGHTS, f"The controlnet in {folder} cannot be used here: {_line(error)}") from error


def _load_adapters(pipeline: Any, settings: Settings) -> None:
    """Load the LoRA adapters under numbers: the library puts names into module paths, where a dot would hurt."""
    if settings.adapters and not hasattr(pipeline, "load_lora_weights"):
        raise Refusal(BAD_DEFINITION, f"{type(pipeline).__name__} takes no LoRA adapters.")
    for number, path in enumerate(settings.adapters.values()):
        try:
            pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=adapter_name(number))
        except (*TROUBLE, RuntimeError) as error:
            raise Refusal(BAD_WEIGHTS, f"The adapter {path} does not fit these weights: {_line(error)}") from error


def adapter_name(number: int) -> str:
    """What the library knows the adapter of that place by."""
    return f"adapter_{number}"


def _place(pipeline: Any, settings: Settings, device: str) -> None:
    if device == "cuda":
        _limit_memory(settings.gpu_memory)
    if settings.gpus > 1 and device == "cuda":
        return  # it was spread over the cards as it was loaded
    match settings.options["cpu_offload"], device:
        case "model", "cuda":
            pipeline.enable_model_cpu_offload()
        case "sequential", "cuda":
            pipeline.enable_sequential_cpu_offload()
        case _:
            pipeline.to(device)


def _limit_memory(most: int | float | None) -> None:
    """Keep within bytes, or a share, of each card."""
    for card in range(torch.cuda.device_count() if most is not None else 0):
        total = torch.cuda.get_device_properties(card).total_memory
        share = most if isinstance(most, float) else min(most / total, 1.0)
        torch.cuda.set_per_process_memory_fraction(share, card)


def _save_memory(pipeline: Any, settings: Settings) -> None:
    """Trade speed for memory as the options say, where the pipeline can."""
    if settings.options["attention_slicing"]:
        pipeline.enable_attention_slicing()
    for name in ("slicing", "tiling"):
        if not settings.options[f"vae_{name}"]:
            continue
        part = getattr(pipeline, "vae", None)
        if not hasattr(part, f"enable_{name}"):
            raise Refusal(BAD_OPTION, f"The option vae_{name} does nothing for {type(pipeline).__name__}.")
        getattr(part, f"enable_{name}")()

"""What the engine is to be run with: the definition and the options, checked before any library is loaded.

Requests share one cache of keys and values. Left out, its size follows from the length that one request may use:
on a processor it holds one request of full length, and many shorter ones beside each other; on a card it takes the
memory that `gpu_memory` leaves beside the weights. A step reads at most `max_batch_tokens` tokens of prompts,
which bounds how soon a departed client is noticed and how long other streams pause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xserve_engine.launch import BAD_OPTION, NO_BACKEND, NO_WEIGHTS, Refusal, Start, refuse_unknown, require_weights
from xserve_engine.templates import TemplateError, variables_of

LONGEST = 32_768  # tokens of a request, unless max_model_len says more: memory grows with it

# Every option and its default. None: worked out once the model is known.
DEFAULTS: dict[str, Any] = {
    "dtype": "auto",
    "device": "auto",
    "attn_implementation": None,
    "max_model_len": None,
    "page_size": 32,
    "num_blocks": None,
    "max_batch_tokens": None,
    "max_requests": 64,
    "enable_thinking": None,
    "chat_template_kwargs": {},
    "reasoning_content": True,
    "seed": None,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the engine needs to know of its start."""

    uid: str
    socket: str
    weights: Path
    definition: Mapping[str, Any]
    quantization: str
    gpu_memory: int | float | None  # bytes, or a share of the card
    remote_code: bool
    adapters: Mapping[str, str]  # path of each LoRA adapter by its name
    options: Mapping[str, Any]  # all of `DEFAULTS`, with what the user chose

    @property
    def abilities(self) -> Sequence[str]:
        """What the definition says that the model can do."""
        return self.definition.get("model_ability") or ()


def settle(start: Start) -> Settings:
    """The settings of this start. Raises `Refusal` with a sentence for what can never work."""
    refuse_unknown(start.options, DEFAULTS)
    if start.gpus > 1:
        raise Refusal(
            NO_BACKEND, f"transformers batches requests on one card, not on {start.gpus}; vllm splits a model."
        )
    options = {**DEFAULTS, **start.options}
    _check_variables(options)
    if options["num_blocks"] is not None and options["max_model_len"] is not None:
        _check_room(options)
    return Settings(
        uid=start.uid,
        socket=start.socket,
        weights=_folder(require_weights(start)),
        definition=start.definition,
        quantization=start.quantization,
        gpu_memory=start.gpu_memory,
        remote_code=start.remote_code,
        adapters={adapter["name"]: _adapter(adapter["name"], adapter["path"]) for adapter in start.lora},
        options=options,
    )


def _folder(path: Path) -> Path:
    """The path; refuses what is no folder."""
    if not path.is_dir():
        raise Refusal(NO_WEIGHTS, f"The weights must be a folder with config.json, not a file: {path}.")
    return path


def _adapter(name: str, path: str) -> str:
    """The path of an adapter; refuses what is none."""
    if not Path(path, "adapter_config.json").is_file():
        raise Refusal(NO_WEIGHTS, f"The adapter {name} must be a folder with adapter_config.json: {path}.")
    return path


def _check_variables(options: Mapping[str, Any]) -> None:
    try:
        variables_of(options, {})
    except TemplateError as error:
        raise Refusal(BAD_OPTION, str(error)) from error


def _check_room(options: Mapping[str, Any]) -> None:
    room = options["num_blocks"] * options["page_size"]
    if room < options["max_model_len"]:
        raise Refusal(
            BAD_OPTION,
            f"A cache of {room} tokens (num_blocks x page_size) cannot hold a request of max_model_len "
            f"{options['max_model_len']}.",
        )


def request_length(settings: Settings, trained: int | None) -> int:
    """Tokens that one request may use; `trained`: what the model says that it can, None if it does not."""
    options = settings.options
    if options["max_model_len"]:
        return int(options["max_model_len"])
    declared = settings.definition.get("context_length")
    length = min(value for value in (declared, trained, LONGEST) if value)
    if options["num_blocks"]:
        length = min(length, options["num_blocks"] * options["page_size"])
    if declared and length < declared:
        print(f"Requests may use {length} of the {declared} tokens declared; max_model_len says otherwise.", flush=True)
    return int(length)

"""What a model is to be served with: the launch file's options with their defaults, checked as far as they can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xserve_engine.batching import Limits
from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, Refusal, Start, refuse_unknown, require_weights

# Every option and its default. None: worked out here, or left to the library.
DEFAULTS: dict[str, Any] = {
    "device": None,
    "dtype": "auto",
    "attn_implementation": None,
    "batch_size": 32,
    "max_batch_tokens": 16_384,
    "max_queue": 4096,
    "max_tokens": None,
    "truncate": False,
    "normalize": True,
    "prompt_name": None,
    "scoring": "auto",
    "instruction": None,
    "layer": None,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that loading and answering need to know."""

    uid: str
    model_type: str
    weights: Path
    definition: Mapping[str, Any]
    remote_code: bool
    gpu_memory: int | float | None  # bytes of a card, or a share of it
    options: Mapping[str, Any]  # all of `DEFAULTS`, with what the user chose

    @property
    def limits(self) -> Limits:
        """Of batches and of the queue."""
        return Limits(self.options["batch_size"], self.options["max_batch_tokens"], self.options["max_queue"])


def settle(start: Start) -> Settings:
    """The settings of this start. Raises `Refusal` with a sentence for what can never work."""
    refuse_unknown(start.options, DEFAULTS)
    weights = require_weights(start)
    if not (weights / "config.json").is_file() and not (weights / "modules.json").is_file():
        raise Refusal(BAD_WEIGHTS, f"There is no model in {weights}: neither config.json nor modules.json is there.")
    if start.lora:
        raise Refusal(
            BAD_OPTION, "Adapters (lora) are not served for embedding and ranking; merge them into the weights."
        )
    if start.gpus > 1:
        print(f"Of {start.gpus} cards only the first is used; give the others to further replicas.", flush=True)
    return Settings(
        uid=start.uid,
        model_type=start.model_type,
        weights=weights,
        definition=start.definition,
        remote_code=start.remote_code,
        gpu_memory=start.gpu_memory,
        options={**DEFAULTS, **start.options},
    )

"""What a model is to be served with: the launch file's options with their defaults, checked as far as they can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xserve_engine.batching import Limits
from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, Refusal, Start, refuse_unknown, require_weights

CROSS_ENCODER, QWEN3, BGE, LAYERWISE = "cross-encoder", "qwen3", "bge", "bge-layerwise"  # ways to ask a reranker

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
    scoring: str  # how a reranker is asked
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
    options = {**DEFAULTS, **start.options}
    return Settings(
        uid=start.uid,
        model_type=start.model_type,
        weights=weights,
        definition=start.definition,
        scoring=_scoring(start, weights, options["scoring"]) if start.model_type == "rerank" else "",
        remote_code=start.remote_code,
        gpu_memory=start.gpu_memory,
        options=options,
    )


def _scoring(start: Start, weights: Path, wanted: str) -> str:
    """How these weights are asked: as the option says, else as the definition's `type` and the weights do.

    Refuses weights without a head as a cross-encoder: the library would make up a random one.
    """
    config = _configuration(weights)
    name = str((config.get("architectures") or ["unknown"])[0])
    found = _kind(str(start.definition.get("type", "")).lower(), name, config) if wanted == "auto" else wanted
    ready = (weights / "modules.json").is_file()  # the library's own layout, which says what to do with the scores
    if found == CROSS_ENCODER and not ready and not name.endswith("ForSequenceClassification"):
        raise Refusal(
            BAD_WEIGHTS, f"The model has no classification head ({name}), so it cannot rank pairs: {weights}."
        )
    return CROSS_ENCODER if wanted == "auto" and ready else found


def _kind(declared: str, architecture: str, config: Mapping[str, Any]) -> str:
    if declared == "llm-based layerwise":
        return LAYERWISE
    if declared != "llm-based" and not architecture.endswith("ForCausalLM"):
        return CROSS_ENCODER
    return QWEN3 if str(config.get("model_type", "")).startswith("qwen3") else BGE


def _configuration(weights: Path) -> dict[str, Any]:
    """The model's config.json, empty if there is none."""
    file = weights / "config.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    except ValueError as error:
        raise Refusal(BAD_WEIGHTS, f"{file} is not JSON: {error}.") from None

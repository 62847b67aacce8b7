"""The table of model types: how each is recognised and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelType:
    """One row."""

    name: str
    routes: tuple[str, ...]  # inference paths that a model of this type answers


_IMAGE_WORK = ("generations", "variations", "edits", "inpainting", "ocr")

MODEL_TYPES: dict[str, ModelType] = {
    row.name: row
    for row in (
        ModelType("LLM", ("/v1/chat/completions", "/v1/completions")),
        ModelType("embedding", ("/v1/embeddings",)),
        ModelType("rerank", ("/v1/rerank",)),
        ModelType("image", tuple(f"/v1/images/{name}" for name in _IMAGE_WORK)),
        ModelType("audio", ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech")),
        ModelType("flexible", ("/v1/flexible/infers",)),
    )
}


def infer(data: Mapping[str, Any]) -> str | None:
    """The model type that the keys of a definition tell, or None. First match wins, in this order."""
    abilities = data.get("model_ability") or ()
    talks = isinstance(abilities, list | tuple) and ("chat" in abilities or "generate" in abilities)
    if "launcher" in data:
        return "flexible"
    if "context_length" in data or "model_lang" in data or talks:
        # An audio definition may name `model_lang` too; only it says whether it is multilingual.
        return "audio" if "multilingual" in data and not talks else "LLM"
    if "dimensions" in data:
        return "embedding"
    if "multilingual" in data:
        return "audio"
    if "controlnet" in data or ("model_family" in data and "model_specs" not in data):
        return "image"
    if "model_specs" in data and "language" in data:
        return "rerank"
    return None

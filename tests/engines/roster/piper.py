"""Piper with the voice Joe: real weights out of a package."""

from __future__ import annotations

from tests.weights import model

from ..interpreters import interpreter
from ..subject import Subject


def subjects() -> list[Subject]:
    """One."""
    python, lacking = interpreter("piper")
    weights, missing = model("piper-joe")
    return [
        Subject(
            "piper",
            "audio",
            gauge="engine_requests_running",
            variant="joe",
            python=python,
            weights=weights,
            definition={"model_family": "piper", "model_ability": ["text2audio"], "multilingual": False},
            options={"noise_scale": 0, "noise_w_scale": 0},  # the same sound every time
            missing=lacking or missing,
        )
    ]

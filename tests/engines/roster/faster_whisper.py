"""Whisper by CTranslate2: tiny.en, real weights out of a package."""

from __future__ import annotations

from tests.weights import model

from ..interpreters import interpreter
from ..subject import Subject


def subjects() -> list[Subject]:
    """One."""
    python, lacking = interpreter("faster_whisper")
    weights, missing = model("whisper-tiny-en-ct2")
    return [
        Subject(
            "faster_whisper",
            "audio",
            gauge="engine_requests_running",
            variant="tiny.en",
            python=python,
            weights=weights,
            definition={"model_family": "whisper", "model_ability": ["audio2text"], "multilingual": False},
            options={"device": "cpu"},
            missing=lacking or missing,
        )
    ]

"""Whisper by CTranslate2: tiny.en and the multilingual base, real weights out of packages."""

from __future__ import annotations

from tests.weights import model

from ..interpreters import interpreter
from ..subject import Subject


def subjects() -> list[Subject]:
    """One per model."""
    python, lacking = interpreter("faster_whisper")
    return [
        Subject(
            "faster_whisper",
            "audio",
            gauge="engine_requests_running",
            variant=variant,
            python=python,
            weights=weights,
            definition={"model_family": "whisper", "model_ability": ["audio2text"], "multilingual": variant == "base"},
            options={"device": "cpu", "beam_size": 1},
            missing=lacking or missing,
        )
        for variant, (weights, missing) in {
            "tiny.en": model("whisper-tiny-en-ct2"),
            "base": model("whisper-base-ct2"),
        }.items()
    ]

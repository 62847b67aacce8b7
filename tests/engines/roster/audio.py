"""Speech by transformers: Whisper tiny.en with real weights, and a VITS voice of random ones."""

from __future__ import annotations

from tests.weights import model

from ..interpreters import interpreter
from ..subject import Subject

WHISPER = {"model_family": "whisper", "model_ability": ["audio2text"], "multilingual": False}


def subjects() -> list[Subject]:
    """One that hears, one that speaks."""
    python, lacking = interpreter("audio")
    tiny, missing = model("whisper-tiny-en")
    voice, silent = model("tiny-vits")
    return [
        Subject(
            "audio",
            "audio",
            gauge="engine_requests_running",
            variant="tiny.en",
            python=python,
            weights=tiny,
            definition=WHISPER,
            options={"device": "cpu"},
            heavy=True,
            missing=lacking or missing,
        ),
        Subject(
            "audio",
            "audio",
            gauge="engine_requests_running",
            variant="vits",
            python=python,
            weights=voice,
            definition={"model_family": "vits", "model_ability": ["text2audio"], "multilingual": False},
            options={"device": "cpu"},
            missing=lacking or silent,
            heavy=True,
        ),
    ]

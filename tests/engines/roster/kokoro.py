"""Kokoro-82M: real weights out of packages. Their five voices are Japanese; here they read English."""

from __future__ import annotations

from tests.weights import model

from ..interpreters import interpreter
from ..subject import Subject


def subjects() -> list[Subject]:
    """One."""
    python, lacking = interpreter("kokoro")
    weights, missing = model("kokoro")
    return [
        Subject(
            "kokoro",
            "audio",
            gauge="engine_requests_running",
            variant="82M",
            python=python,
            weights=weights,
            definition={"model_family": "Kokoro", "model_ability": ["text2audio"], "multilingual": True},
            options={"language": "en-us"},
            missing=lacking or missing,
        )
    ]

"""The transformers library, with SmolLM2-135M-Instruct: real weights, in the precision that can be compared."""

from __future__ import annotations

from ...weights import model
from ..interpreters import interpreter
from ..subject import LONG, Subject


def subjects() -> list[Subject]:
    """A text model."""
    python, lacking = interpreter("transformers")
    weights, problem = model("smollm2-hf")
    return [
        Subject(
            "transformers",
            "LLM",
            gauge="transformers_requests_running",
            python=python,
            weights=weights,
            format="pytorch",
            definition={"model_ability": ["chat", "generate"], "context_length": 8192},
            options={"dtype": "float32"},
            missing=lacking or problem,
            word_id=7042,
            endless={"max_tokens": 6000, "ignore_eos": True, "temperature": 0},
            silent={"prompt": LONG, "max_tokens": 1},
            heavy=True,
        )
    ]

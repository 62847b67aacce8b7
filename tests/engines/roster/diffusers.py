"""Diffusion models: a tiny one that knows colours, trained by ourselves, since no package holds a small real one."""

from __future__ import annotations

from tests.weights import model

from ..interpreters import interpreter
from ..subject import Subject


def subjects() -> list[Subject]:
    """One."""
    python, lacking = interpreter("diffusers")
    weights, missing = model("tiny-sd")
    return [
        Subject(
            "diffusers",
            "image",
            gauge="engine_requests_running",
            python=python,
            weights=weights,
            definition={
                "model_family": "stable_diffusion",
                "model_ability": ["text2image", "image2image", "inpainting"],
                "default_generate_config": {"num_inference_steps": 8, "guidance_scale": 3},
            },
            options={"device": "cpu"},
            missing=lacking or missing,
            silent={"num_inference_steps": 500, "n": 10},
            patience=240,
            heavy=True,
        )
    ]

"""The schedulers that a deployment or a request may name: how noise is taken away, step by step.

Two ways of naming one are known, the library's class (`EulerDiscreteScheduler`) and the sampler names of web
interfaces (`Euler a`, `DPM++ 2M Karras`). All keep the rest of the configuration that came with the weights.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import diffusers

SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "DDIM": ("DDIMScheduler", {}),
    "DDPM": ("DDPMScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 2M SDE Karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "DPM++ SDE": ("DPMSolverSinglestepScheduler", {}),
    "DPM++ SDE Karras": ("DPMSolverSinglestepScheduler", {"use_karras_sigmas": True}),
    "DPM2": ("KDPM2DiscreteScheduler", {}),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "FlowMatchEuler": ("FlowMatchEulerDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "PNDM": ("PNDMScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
}
CLASSES = {name: (name, {}) for name, _ in SAMPLERS.values()}


def make_scheduler(name: str | None, config: Mapping[str, Any], usual: type) -> Any:
    """A scheduler of this name (None: of the `usual` class) with the weights' configuration.

    Each picture gets one of its own: a scheduler remembers steps of the picture before. Raises `ValueError`.
    """
    if name is None:
        return usual.from_config(config)  # type: ignore[attr-defined]
    known = SAMPLERS | CLASSES
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(SAMPLERS)}"
        raise ValueError(f"There is no scheduler {name!r}; {hint}")
    kind, changes = known[name]
    return getattr(diffusers, kind).from_config(config, **changes)

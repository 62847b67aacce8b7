"""The parameters that a request, or `default_generate_config`, may hand to a pipeline, and their bounds.

A pipeline's call takes dozens, among them tensors, callables and dictionaries that steer its inside. Only what is
here goes through; which of these a pipeline knows, its signature says.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xserve_engine.wire import HttpError


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a value may be: a number between bounds, a truth value, or a text."""

    kind: type
    least: float = 0
    most: float = 0

    def read(self, name: str, value: object) -> Any:
        """The value, as the pipeline takes it. Raises `HttpError` 400."""
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            raise HttpError(400, f"{name} must be {_KINDS[self.kind]}, not {value!r}.")
        if self.most and not self.least <= value <= self.most:  # type: ignore[operator]
            raise HttpError(400, f"{name} must be from {self.least:g} to {self.most:g}, not {value!r}.")
        return value


_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
_SCALE, _SHARE, _TEXT = Parameter(float, -100, 100), Parameter(float, 0, 1), Parameter(str)

PARAMETERS: Mapping[str, Parameter] = {
    "num_inference_steps": Parameter(int, 1, 10_000),  # the option max_steps bounds it further
    "strength": _SHARE,
    "guidance_scale": _SCALE,
    "guidance_rescale": _SHARE,
    "true_cfg_scale": _SCALE,
    "image_guidance_scale": _SCALE,
    "pag_scale": _SCALE,
    "pag_adaptive_scale": _SCALE,
    "controlnet_conditioning_scale": _SCALE,
    "control_guidance_start": _SHARE,
    "control_guidance_end": _SHARE,
    "guess_mode": Parameter(bool),
    "denoising_start": _SHARE,
    "denoising_end": _SHARE,
    "eta": _SHARE,
    "clip_skip": Parameter(int, 1, 100),
    "max_sequence_length": Parameter(int, 1, 4096),
    "aesthetic_score": _SCALE,
    "negative_aesthetic_score": _SCALE,
    "negative_prompt": _TEXT,
    "prompt_2": _TEXT,
    "negative_prompt_2": _TEXT,
    "prompt_3": _TEXT,
    "negative_prompt_3": _TEXT,
    "prior_num_inference_steps": Parameter(int, 1, 10_000),
    "prior_guidance_scale": _SCALE,
}
STEPS = ("num_inference_steps", "prior_num_inference_steps")


def read_parameters(given: Mapping[str, Any], max_steps: int) -> dict[str, Any]:
    """The parameters, each of its kind. Raises `HttpError` 400 for an unknown one or one out of bounds."""
    for name in given:
        if name not in PARAMETERS:
            near = difflib.get_close_matches(name, PARAMETERS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise HttpError(400, f"There is no parameter {name}.{hint}")
    read = {name: PARAMETERS[name].read(name, value) for name, value in given.items()}
    for name in STEPS:
        if read.get(name, 0) > max_steps:
            raise HttpError(400, f"{name} may be at most {max_steps} here, not {read[name]}.")
    return read

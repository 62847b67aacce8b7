"""Diffusers used directly: `python drawing.py WEIGHTS OPTIONS`. Items are pictures."""

from __future__ import annotations

import sys
from typing import Any

import torch  # noqa: TID251 - a process of its own
from diffusers import AutoPipelineForText2Image
from turns import Compute, answer, each


def drawing(weights: str) -> Compute:
    pipeline = AutoPipelineForText2Image.from_pretrained(weights)
    pipeline.set_progress_bar_config(disable=True)

    def compute(request: dict[str, Any]) -> object:
        width, height = map(int, request["size"].split("x"))
        return pipeline(
            request["prompt"],
            width=width,
            height=height,
            num_inference_steps=request["num_inference_steps"],
            guidance_scale=request["guidance_scale"],
            generator=torch.Generator().manual_seed(request["seed"]),
        ).images

    return each(compute)


if __name__ == "__main__":
    answer(drawing(sys.argv[1]))

"""What the library diffusers itself draws: `python draw.py WEIGHTS`, a JSON list of cases on stdin.

A case has `kind` (of AutoPipeline: Text2Image, Image2Image, Inpainting), `seeds`, the call's `arguments`, and where
needed `image` and `mask_image` (base64 of files) and `lora` (a folder). Prints the pictures of each as base64 of PNG.
"""

from __future__ import annotations

import base64
import io
import json
import sys

import diffusers
import torch
from PIL import Image


def draw(case: dict) -> list[str]:
    """The pictures of a case, each case by a pipeline of its own."""
    pipeline = getattr(diffusers, f"AutoPipelineFor{case['kind']}").from_pretrained(sys.argv[1])
    pipeline.set_progress_bar_config(disable=True)
    if "lora" in case:
        pipeline.load_lora_weights(case["lora"], weight_name="pytorch_lora_weights.safetensors")
    pictures = {name: opened(case[name]) for name in ("image", "mask_image") if name in case}
    chances = [torch.Generator().manual_seed(seed) for seed in case["seeds"]]
    drawn = pipeline(**case["arguments"], **pictures, generator=chances, num_images_per_prompt=len(chances)).images
    return [encoded(picture) for picture in drawn]


def opened(file: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(file)))


def encoded(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    print(json.dumps([draw(case) for case in json.load(sys.stdin)]))

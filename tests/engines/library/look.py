"""The transformers library looking at pictures: `python look.py WEIGHTS ADAPTERS < questions > answers`.

A question holds `messages` with pictures as data URLs, `limit` and perhaps `adapter` (a name); an answer the text of
the new tokens.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor


def main(weights: str, adapters: str) -> None:
    """Answer all questions."""
    processor = AutoProcessor.from_pretrained(weights)
    questions = json.load(sys.stdin)
    models = {}
    for name in {question.get("adapter") for question in questions}:
        models[name] = AutoModelForImageTextToText.from_pretrained(weights, dtype=torch.float32).eval()
        if name:
            models[name].load_adapter(f"{adapters}/{name}")
    answers = [answer(models[question.get("adapter")], processor, question) for question in questions]
    json.dump(answers, sys.stdout)


def answer(model: Any, processor: Any, question: dict[str, Any]) -> str:
    """What the library says."""
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))
        for message in question["messages"]
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    prompt = processor.apply_chat_template(question["messages"], add_generation_prompt=True)
    inputs = processor(text=prompt, images=pictures or None, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**inputs, max_new_tokens=question["limit"], do_sample=False)
    return str(processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The library's own speech: `python vits_speaks.py MODEL TEXT` prints its length and its last 50 samples."""

from __future__ import annotations

import json
import sys

import torch
from transformers import VitsModel, VitsTokenizer


def main(model: str, text: str) -> None:
    """Let the library's own model say the text, with its second voice."""
    voice = VitsModel.from_pretrained(model, dtype=torch.float32).eval()
    with torch.inference_mode():
        sound = voice(**VitsTokenizer.from_pretrained(model)(text, return_tensors="pt"), speaker_id=1).waveform[0]
    last = (sound[-50:].clamp(-1, 1) * 32767).int().tolist()
    print(json.dumps({"samples": len(sound), "rate": voice.config.sampling_rate, "last": last}))


if __name__ == "__main__":
    main(*sys.argv[1:])

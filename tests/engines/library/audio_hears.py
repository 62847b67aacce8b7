"""The library's own transcription: `python audio_hears.py MODEL WAV KIT` prints its text and the times of its parts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import pipeline


def main(model: str, file: str, kit: str) -> None:
    """Decode the file as the engine does, and let the library's own pipeline hear it."""
    sys.path.append(kit)
    from xserve_engine.sound import RATE, decode

    hear = pipeline("automatic-speech-recognition", model=model, dtype=torch.float32, device="cpu")
    sound = {"raw": decode(Path(file).read_bytes(), 60), "sampling_rate": RATE}
    found = hear(sound, return_timestamps=True, generate_kwargs={"do_sample": False})
    print(json.dumps({"text": found["text"], "times": [one["timestamp"] for one in found["chunks"]]}))


if __name__ == "__main__":
    main(*sys.argv[1:])

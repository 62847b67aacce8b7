"""Whisper used directly: `python hearing.py KIND WEIGHTS OPTIONS`, KIND being audio (transformers) or faster_whisper.

A request names a sound file, which is decoded once, as the engine does it; what is counted is hearing.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

from turns import Compute, answer, each

sys.path.append(str(Path(__file__).resolve().parents[2] / "engines" / "_kit"))
from xserve_engine.sound import RATE, decode

LONGEST = 60.0  # seconds


@functools.cache
def sound(path: str) -> Any:
    """What Whisper hears of the file."""
    return decode(Path(path).read_bytes(), LONGEST)


def audio(weights: str, options: dict[str, Any]) -> Compute:
    import torch  # noqa: TID251 - a process of its own
    from transformers import pipeline  # noqa: TID251

    hear = pipeline("automatic-speech-recognition", model=weights, dtype=torch.float32, device=options["device"])
    wish = {"return_timestamps": True, "generate_kwargs": {"num_beams": 1}}  # the pipeline's default is five

    def compute(request: Any) -> object:
        return hear({"raw": sound(request["file"]), "sampling_rate": RATE}, **wish)

    return each(compute)


def faster_whisper(weights: str, options: dict[str, Any]) -> Compute:
    from faster_whisper import WhisperModel

    model = WhisperModel(weights, device=options["device"], local_files_only=True)

    def compute(request: Any) -> object:
        return list(model.transcribe(sound(request["file"]), beam_size=options["beam_size"])[0])

    return each(compute)


if __name__ == "__main__":
    kinds = {"audio": audio, "faster_whisper": faster_whisper}
    answer(kinds[sys.argv[1]](sys.argv[2], json.loads(sys.argv[3])))

"""Voices used directly: `python speaking.py KIND WEIGHTS OPTIONS`, KIND being piper or kokoro. Items are sentences."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnxruntime
from turns import Compute, answer, each

_ONE_THREAD = onnxruntime.SessionOptions()
_ONE_THREAD.intra_op_num_threads = 1  # onnxruntime does not look at OMP_NUM_THREADS by itself


def _session(weights: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(weights), _ONE_THREAD, providers=["CPUExecutionProvider"])


def piper(weights: str, _: dict[str, Any]) -> Compute:
    from piper import PiperConfig, PiperVoice

    (file,) = Path(weights).glob("*.onnx")
    description = json.loads(Path(f"{file}.json").read_text())
    voice = PiperVoice(session=_session(file), config=PiperConfig.from_dict(description))
    return each(lambda request: [chunk.audio_float_array for chunk in voice.synthesize(request["input"])])


def kokoro(weights: str, options: dict[str, Any]) -> Compute:
    from kokoro_onnx import Kokoro

    (file,) = Path(weights).glob("*.onnx")
    (voices,) = Path(weights).glob("voices*")
    model = Kokoro.from_session(_session(file), str(voices))
    voice = model.get_voices()[0]
    return each(lambda request: model.create(request["input"], voice=voice, lang=options["language"]))


if __name__ == "__main__":
    answer({"piper": piper, "kokoro": kokoro}[sys.argv[1]](sys.argv[2], json.loads(sys.argv[3])))

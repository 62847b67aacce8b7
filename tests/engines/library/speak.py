"""Speaks a sentence by a Piper voice: `python speak.py VOICE SENTENCE OUT`; VOICE is the folder of the voice."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

from piper import PiperVoice


def main(voice: str, sentence: str, out: str) -> None:
    """Write the sentence as a WAV file."""
    (weights,) = Path(voice).glob("*.onnx")
    with wave.open(out, "wb") as file:
        PiperVoice.load(weights).synthesize_wav(sentence, file)


if __name__ == "__main__":
    main(*sys.argv[1:])

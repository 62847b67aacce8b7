"""Wheels that tests write, and a shelf that is the only place where uv finds packages."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    """Write a wheel with one module that knows its version."""
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {each}" for each in needs),
    ]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"version = {version!r}\n")
        file.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")


def only_from(shelf: Path, scratch: Path) -> Mapping[str, str]:
    """The variables that make uv find packages on the shelf, and nowhere else. No network is used."""
    nothing = scratch / "nothing"
    nothing.mkdir(exist_ok=True)
    return {
        "UV_FIND_LINKS": str(shelf),
        "UV_DEFAULT_INDEX": f"file://{nothing}",
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(scratch / "cache"),
    }

"""Makes the small models of the tests out of packages, each once: `python scripts/make_models.py [NAME ...]`.

Every `scripts/models/NAME.py` is run as `python NAME.py OUT SITE_PACKAGES`, by the interpreter of the engine that
its first line names (`# environment: transformers`; `# environment: none` is this one). SITE_PACKAGES holds the
packages of `scripts/models.txt`. What was made by the same script of the same packages is not made again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE.parent / ".cache" / "models"


def main(names: list[str]) -> None:
    """Make the models of these names; all of them if there are none."""
    for script in sorted((HERE / "models").glob("*.py")):
        if not names or script.stem in names:
            make(script)


def make(script: Path) -> None:
    """Make one model beside its place, and put it there when it is whole."""
    out, mark = OUT / script.stem, OUT / f"{script.stem}.made"
    print(f"{script.stem}: ", end="", flush=True)
    if out.exists() and mark.exists() and mark.read_text() == fingerprint(script):
        return print("is there")
    began, unfinished = time.monotonic(), OUT / f".{script.stem}.unfinished"
    for path in (out, unfinished):
        shutil.rmtree(path, ignore_errors=True)
        if path.is_file():
            path.unlink()
    OUT.mkdir(parents=True, exist_ok=True)
    packages = sysconfig.get_path("purelib")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([interpreter(script), str(script), str(unfinished), packages], check=True, env=environment)
    unfinished.rename(out)
    mark.write_text(fingerprint(script))
    return print(f"made in {time.monotonic() - began:.0f} s")


def fingerprint(script: Path) -> str:
    """Of what the model is made of."""
    return hashlib.sha256(script.read_bytes() + (HERE / "models.txt").read_bytes()).hexdigest()


def interpreter(script: Path) -> str:
    """The one that the script asks for."""
    engine = script.read_text().splitlines()[0].removeprefix("# environment: ")
    if engine == "none":
        return sys.executable
    from xserve.daemon.discovery import discover

    found = {one.manifest.name: one for one in discover()[0]}[engine]
    return found.python


if __name__ == "__main__":
    main(sys.argv[1:])

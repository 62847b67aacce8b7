"""Makes the small models of the tests out of packages, each once: `python scripts/make_models.py [NAME ...]`.

Every `scripts/models/NAME.py` is run as `python NAME.py OUT SITE_PACKAGES`, by the interpreter of the engine that
its first line names (`# environment: transformers`; `# environment: none` is this one). SITE_PACKAGES holds the
packages of `scripts/models.txt`. What was made by the same script of the same packages is not made again. A model
`NAME.gguf` is made of the model NAME beside it, which is made first.
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
    scripts = sorted((HERE / "models").glob("*.py"), key=lambda script: (len(sources(script)), script))
    wanted = {source for script in scripts if not names or script.stem in names for source in sources(script)}
    for script in scripts:
        if script in wanted:
            make(script)


def sources(script: Path) -> list[Path]:
    """The script, and before it the one whose model it is made of, if there is one."""
    base = script.with_name(f"{script.stem.removesuffix('.gguf')}.py")
    return [base, script] if base != script and base.exists() else [script]


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
    made_of = [*sources(script), HERE / "models.txt"]
    if script.stem.endswith(".gguf"):
        made_of.append(HERE / "bert_to_gguf.py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_of)).hexdigest()


def interpreter(script: Path) -> str:
    """The one that the script asks for."""
    engine = script.read_text().splitlines()[0].removeprefix("# environment: ")
    if engine == "none":
        return sys.executable
    from xserve.daemon.discovery import discover, equip
    from xserve.runtime.environments import Environments

    (found,) = [one for one in discover()[0] if one.manifest.name == engine]
    return equip(found, Environments(OUT.parent / "environments"), make=True).python


if __name__ == "__main__":
    main(sys.argv[1:])

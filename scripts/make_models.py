"""Makes the small models of the tests out of packages, each once: `python scripts/make_models.py [NAME ...]`.

Every `scripts/models/NAME.py` is run as `python NAME.py OUT SITE_PACKAGES`, by the interpreter of the engine that
its first line names (`# environment: transformers`; `# environment: none` is this one). SITE_PACKAGES holds the
packages of `scripts/models.txt`. What was made by the same script of the same packages is not made again. A model may
be made of another one beside it, as its script's second line says (`# made of: reranker`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE.parent / ".cache" / "models"


def main(names: list[str]) -> None:
    """Make the models of these names, as many at once as there are processors; all of them if there are no names."""
    scripts = {script.stem: script for script in (HERE / "models").glob("*.py")}
    wanted = sources(names or sorted(scripts), scripts)
    begun: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in wanted:  # sources come first, so none waits for one that is not begun
            base = begun.get(base_of(scripts[name]) or "")
            begun[name] = pool.submit(make, scripts[name], base)
    for each in begun.values():
        each.result()


def sources(names: list[str], scripts: Mapping[str, Path]) -> list[str]:
    """The names, each after the one that it is made of."""
    wanted: dict[str, None] = {}
    for name in names:
        base = base_of(scripts[name])
        for each in (*(sources([base], scripts) if base else ()), name):
            wanted[each] = None
    return sorted(wanted, key=lambda name: (base_of(scripts[name]) is not None, name))


def base_of(script: Path) -> str | None:
    """The model that this one is made of, which lies beside it: the second line may say `# made of: NAME`."""
    line = script.read_text().splitlines()[1]
    return line.removeprefix("# made of: ") if line.startswith("# made of: ") else None


def make(script: Path, base: Future[None] | None) -> None:
    """Make one model beside its place, once its base is there, and put it in place when it is whole."""
    if base is not None:
        base.result()
    out, mark = OUT / script.stem, OUT / f"{script.stem}.made"
    if out.exists() and mark.exists() and mark.read_text() == fingerprint(script):
        print(f"{script.stem}: is there", flush=True)
        return
    began, unfinished = time.monotonic(), OUT / f".{script.stem}.unfinished"
    for path in (out, unfinished):
        shutil.rmtree(path, ignore_errors=True)
        if path.is_file():
            path.unlink()
    OUT.mkdir(parents=True, exist_ok=True)
    command = [interpreter(script), str(script), str(unfinished), sysconfig.get_path("purelib")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{script.stem} cannot be made:\n{done.stdout}")
    unfinished.rename(out)
    mark.write_text(fingerprint(script))
    print(f"{script.stem}: made in {time.monotonic() - began:.0f} s", flush=True)


def fingerprint(script: Path) -> str:
    """Of what the model is made of."""
    base = base_of(script)
    made_of = [script, HERE / "models.txt", HERE / "bert_to_gguf.py"]
    if base:
        made_of.append(script.with_name(f"{base}.py"))
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

"""The small models of the tests, made by `scripts/make_models.py` into `.cache/models`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODELS = ROOT / ".cache" / "models"


def model(name: str) -> tuple[str, str]:
    """Path of a model, and why it is not there."""
    path = MODELS / name
    return str(path), "" if path.exists() else lacking(f"the model {name} is not made: scripts/make_models.py {name}")


def lacking(sentence: str) -> str:
    """Why a test cannot be run here: a reason to skip it, or an error where everything should be there."""
    if os.environ.get("XSERVE_ALL_MADE"):
        raise RuntimeError(sentence)
    return sentence


def packaged(package: str, inner: str) -> tuple[str, str]:
    """Path of weights within a package of `scripts/models.txt`, and why they are not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return "", f"the package {package} is not installed: scripts/models.txt"
    return str(Path(spec.submodule_search_locations[0], inner)), ""

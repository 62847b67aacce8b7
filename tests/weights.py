"""The small models of the tests, made by `scripts/make_models.py` into `.cache/models`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MODELS = ROOT / ".cache" / "models"


def model(name: str) -> tuple[str, str]:
    """Path of a model, and why it is not there."""
    path = MODELS / name
    return str(path), "" if path.exists() else f"the model {name} is not made: scripts/make_models.py {name}"

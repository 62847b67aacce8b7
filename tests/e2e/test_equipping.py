"""Which of an engine's backends is taken, on a machine with a card and on one without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xserve.core.environment import Readiness
from xserve.core.manifest import Manifest
from xserve.daemon import discovery
from xserve.daemon.discovery import Found, environment_of, equip
from xserve.runtime.environments import Environments

CARD = {"name": "card", "module": "no_such_module", "accelerator": "cuda", "packages": ["toy==1.0"]}
PLAIN = {"name": "plain", "module": "no_such_module", "accelerator": "cpu", "packages": ["toy==2.0"]}
EITHER = {"name": "either", "module": "no_such_module", "packages": ["toy==3.0"]}
HERE = {"name": "here", "module": "json"}
BY_HAND = {"name": "by-hand", "module": "no_such_module", "install": "pip install toy"}


def found(*backends: dict[str, Any]) -> Found:
    """An engine with these backends, in this order."""
    engine: dict[str, Any] = {"name": "mine", "title": "Mine", "description": "x", "serves": [], "command": ["x"]}
    return Found(Manifest.model_validate({**engine, "backends": backends}), "/engines/mine")


@pytest.mark.parametrize(
    ("machine", "backends", "taken"),
    [
        ("cpu", [CARD, PLAIN, EITHER], "plain"),
        ("cuda", [PLAIN, CARD, EITHER], "card"),
        ("cpu", [CARD, EITHER, PLAIN], "either"),
        ("cpu", [PLAIN, HERE], "here"),
        ("cpu", [BY_HAND, PLAIN], "plain"),
        ("cpu", [CARD], None),
        ("cpu", [BY_HAND], None),
    ],
)
def test_the_first_backend_that_is_here_or_else_can_be_made(
    machine: str, backends: list[dict[str, Any]], taken: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "accelerator", lambda: machine)
    assert equip(found(*backends), Environments(tmp_path), make=True).backend == taken


def test_a_later_backend_whose_environment_is_made_goes_before_one_that_is_yet_to_be_made(tmp_path: Path) -> None:
    mine, environments = found(EITHER, {**EITHER, "name": "made", "packages": ["toy==4.0"]}), Environments(tmp_path)
    environment = environment_of(mine.manifest, mine.manifest.backends[1])
    python = Path(environments.python(environment))
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / environment.name / "xserve-environment.json").touch()
    engine = equip(mine, environments, make=False)
    assert (engine.backend, engine.python, engine.installed) == ("made", str(python), True)


def test_what_may_not_be_made_is_missing(tmp_path: Path) -> None:
    engine = equip(found(EITHER), Environments(tmp_path), make=False)
    assert (engine.backend, engine.readiness) == (None, Readiness.MISSING)
    assert engine.missing == "not installed (xserve engines --install mine)"


def test_one_backend_can_be_asked_for(tmp_path: Path) -> None:
    assert equip(found(HERE, EITHER), Environments(tmp_path), make=True, backend="either").backend == "either"

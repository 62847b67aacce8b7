"""The reading of a configuration, without a daemon around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from xserve.core.engines import Engine
from xserve.core.problems import Problem
from xserve.core.settings import Settings
from xserve.daemon import world as module
from xserve.daemon.discovery import Found, discover, equip
from xserve.daemon.settings import load_settings
from xserve.daemon.world import World
from xserve.files.layers import Layers
from xserve.runtime.environments import Environments

from .files import Config


def read(config: Path) -> World:
    world = World(Layers.find(config), Settings(version=1), settle=0.0, hold=0.0, keep=False)
    world.observe()
    return world


def test_many_problems_of_one_deploy_file_cost_one_reading_of_their_places(
    files: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.define("base")
    for name in ("a", "b", "c", "d"):
        files.deploy_fake(name, model="base", aliases=["same"])
    asked = []
    positions = module.positions
    monkeypatch.setattr(module, "positions", lambda file: (asked.append(file.path), positions(file))[1])

    problems = read(files.directory).sight.desired.problems

    assert len(asked) == 1
    assert len({problem.column for problem in problems}) == len(problems) == 3
    assert all(problem.line > 0 for problem in problems)


def test_engines_can_be_asked_for_while_a_reload_looks_for_them(files: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload looks in a thread; whoever asks meanwhile gets what was known."""
    world = read(files.directory)
    known: list[Engine] = world.engines
    during: list[list[Engine]] = []
    find = module.discover

    def discover(folders: Sequence[str]) -> tuple[list[Found], list[Problem]]:
        during.append(world.engines)
        return find(folders)

    monkeypatch.setattr(module, "discover", discover)
    world.observe(reload=True)

    assert during == [known]


@pytest.mark.parametrize("target", ["nowhere.yaml", "xserve.yaml"], ids=["dangling", "loop"])
def test_settings_that_cannot_be_read_are_a_problem_and_not_the_defaults(config: Path, target: str) -> None:
    (config / "xserve.yaml").symlink_to(target)

    loaded = load_settings(Layers.find(config))

    assert isinstance(loaded, list)
    assert "it is a link" in loaded[0].message


def test_folders_in_the_settings_that_are_not_there_are_told(config: Path, tmp_path: Path) -> None:
    settings = Settings(version=1, engine_dirs=["/nowhere"], launcher_dirs=[str(tmp_path), "/nowhere-else"])
    world = World(Layers.find(config), settings, settle=0.0, hold=0.0, keep=False)

    assert [str(problem) for problem in world.observe().problems] == [
        f"{config}/xserve.yaml: warning: engine_dirs: /nowhere is not a folder",
        f"{config}/xserve.yaml: warning: launcher_dirs: /nowhere-else is not a folder",
    ]


def test_an_edit_of_the_settings_is_told_to_have_no_effect_yet(files: Config) -> None:
    """A gate that was opened in the file and stays shut would be a riddle; one that was shut and is open, worse."""
    files.define("base")
    files.deploy_fake("chat", model="base")
    world = read(files.directory)
    assert world.sight.problems == ()

    (files.directory / "xserve.yaml").write_text("version: 1\nallow_remote_code: ['*']\n")
    (edited,) = world.observe().problems
    assert "restart the daemon" in edited.message
    assert world.gates.remote_code == ()

    (files.directory / "xserve.yaml").write_text("version: 1\nallow_remote_cod: ['*']\n")
    (fault, _) = world.observe().problems
    assert (fault.line, "allow_remote_code" in fault.message) == (2, True)


def test_without_settings_the_defaults_hold(config: Path) -> None:
    assert load_settings(Layers.find(config)) == Settings(version=1)


def test_an_engine_whose_library_is_not_there_is_not_installed(tmp_path: Path) -> None:
    engines, problems = discover([str(somebodys_engine(tmp_path, "no_such_module"))])

    (mine,) = [each for each in engines if each.manifest.name == "mine"]
    assert equip(mine, Environments(tmp_path), make=True).missing == "not installed (pip install x)"
    assert problems == []


@pytest.mark.parametrize("module_name", ["no_such_package.inner", "", "json.nothing"])
def test_a_manifest_with_a_dotted_module_is_refused_and_stops_nothing(tmp_path: Path, module_name: str) -> None:
    """To look for `a.b` would import `a`, and nothing of an engine is ever imported."""
    engines, problems = discover([str(somebodys_engine(tmp_path, module_name))])

    assert "mine" not in [each.manifest.name for each in engines]
    (problem,) = problems
    assert (problem.path, problem.field) == (str(tmp_path / "mine" / "engine.yaml"), "backends.0.module")
    assert problem.line > 0


def somebodys_engine(parent: Path, module_name: str) -> Path:
    """A folder of engines with one that needs a module."""
    folder = parent / "mine"
    folder.mkdir()
    manifest = {
        "name": "mine",
        "title": "Mine",
        "description": "Serves nothing.",
        "serves": [],
        "backends": [{"name": "x", "module": module_name, "install": "pip install x"}],
        "command": ["{python}"],
    }
    (folder / "engine.yaml").write_text(json.dumps(manifest))
    return parent

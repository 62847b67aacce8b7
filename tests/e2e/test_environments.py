"""An engine whose package is not installed: its environment is made when a deployment asks for it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..wheels import only_from, wheel
from .conftest import Serve
from .daemon import PATIENCE, XSERVE, wait_until
from .files import Config, place

FAKE = Path(__file__).parents[2] / "engines" / "fake"


class Toy:
    """An engine of somebody's own: the fake one, with a package that it cannot do without."""

    def __init__(self, folder: Path, shelf: Path) -> None:
        self.folder = folder
        self.shelf = shelf
        (folder / "toy").mkdir(parents=True)
        for file in FAKE.glob("*.py"):
            shutil.copy(file, folder / "toy")
        (folder / "toy" / "serve.py").write_text((FAKE / "serve.py").read_text() + "\nimport toy_library  # noqa")
        shutil.copytree(FAKE.parent / "_kit", folder / "_kit")

    def ask_for(self, *packages: str) -> None:
        """Write the manifest."""
        manifest = yaml.safe_load((FAKE / "engine.yaml").read_text())
        backend = {"name": "toy", "module": "toy_library", "packages": list(packages)}
        manifest |= {"name": "toy", "title": "Toy", "backends": [backend], "only_when_named": False}
        place(self.folder / "toy" / "engine.yaml", manifest)

    def take_for_ever(self) -> None:
        """Ask for a package whose build never ends."""
        source = self.shelf / "endless-1.0"
        source.mkdir()
        (source / "pyproject.toml").write_text(
            '[project]\nname = "endless"\nversion = "1.0"\n[build-system]\nrequires = []\n'
            'build-backend = "backend"\nbackend-path = ["."]\n'
        )
        (source / "backend.py").write_text("import time\n\ndef build_wheel(*_, **__):\n    time.sleep(3600)\n")
        self.ask_for(f"endless @ file://{source}")

    def builders(self) -> list[int]:
        """Processes that build the package whose build never ends, uv among them."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if any(str(self.shelf.parent / name).encode() in command for name in ("cache", "shelf")):
                found.append(int(folder.name))
        return found


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel(shelf, "toy_library", "1.0")
    for name, value in only_from(shelf, tmp_path).items():
        monkeypatch.setenv(name, value)
    made = Toy(tmp_path / "engines", shelf)
    made.ask_for("toy-library==1.0")
    yield made
    for pid in made.builders():
        os.kill(pid, signal.SIGKILL)


def test_a_deployment_makes_the_environment_of_its_engine_and_serves(files: Config, toy: Toy, serve: Serve) -> None:
    files.define("base")
    files.deploy("chat", model="base", engine="toy")
    daemon = serve(engine_dirs=[str(toy.folder)])
    daemon.wait_state("chat", "ready")
    assert daemon.model("chat")["engine"] == "toy"
    status, answer = daemon.post("/v1/completions", {"model": "chat", "prompt": "hello there"})
    assert (status, answer["choices"][0]["text"].split()) == (200, ["fake:", "hello", "there"])
    said = [event["message"] for event in daemon.get("/xserve/v1/events")[1]["events"]]
    assert "environment of toy: it is made" in said
    assert "environment of toy: installing toy-library==1.0" in said
    (row,) = [each for each in daemon.get("/xserve/v1/engines")[1]["engines"] if each["name"] == "toy"]
    assert (row["installed"], row["readiness"]) == (True, "installed")


def test_a_package_that_does_not_exist_is_told_in_status_and_mended_by_a_reload(
    files: Config, toy: Toy, serve: Serve
) -> None:
    toy.ask_for("toy-library==1.0", "nowhere==1.0")
    files.define("base")
    files.deploy("chat", model="base", engine="toy")
    daemon = serve(engine_dirs=[str(toy.folder)])

    def failed() -> bool:
        return daemon.model("chat").get("reason") == "NoEnvironment"

    wait_until(failed, "the environment cannot be made")
    assert "nowhere was not found in the package registry" in daemon.model("chat")["message"]
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})[0] == 503
    assert daemon.run("wait", "--model", "chat", "--timeout", "60").returncode == 1
    wheel(toy.shelf, "nowhere", "1.0")
    assert daemon.run("reload").returncode == 0
    daemon.wait_state("chat", "ready")


def test_what_runs_goes_on_while_the_environment_of_its_successor_cannot_be_made(
    files: Config, toy: Toy, serve: Serve
) -> None:
    files.define("base")
    files.deploy("chat", model="base", engine="toy")
    daemon = serve(engine_dirs=[str(toy.folder)])
    daemon.wait_state("chat", "ready")
    before = daemon.pid_of("chat")
    toy.ask_for("toy-library==2.0")
    daemon.run("reload")
    wait_until(lambda: daemon.model("chat")["reason"] == "NoEnvironment", "the new environment fails")
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "hello"})[0] == 200
    assert daemon.pid_of("chat") == before


def test_an_environment_can_be_made_ahead_and_then_needs_no_making(files: Config, toy: Toy, serve: Serve) -> None:
    daemon = serve(engine_dirs=[str(toy.folder)], environments={"make": False})
    files.define("base")
    files.deploy("chat", model="base", engine="toy")
    wait_until(lambda: daemon.model("chat").get("reason") == "NoEngine", "it may not be made")
    assert "xserve engines --install toy" in daemon.model("chat")["message"]
    done = daemon.run("engines", "--install", "toy")
    assert done.returncode == 0, done.stderr
    assert "installing toy-library==1.0" in done.stderr
    assert "toy is installed" in done.stdout
    daemon.run("reload")
    daemon.wait_state("chat", "ready")


def test_an_engine_that_cannot_be_installed_keeps_no_other_from_it(files: Config, toy: Toy) -> None:
    manifest = json.loads((toy.folder / "toy" / "engine.yaml").read_text())
    (toy.folder / "hopeless").mkdir()
    backend = {"name": "x", "module": "nowhere", "packages": ["nowhere==1.0"]}
    place(toy.folder / "hopeless" / "engine.yaml", {**manifest, "name": "hopeless", "backends": [backend]})
    place(files.directory / "xserve.yaml", {"version": 1, "engine_dirs": [str(toy.folder)]})
    command = [*XSERVE, "engines", "--install", "hopeless", "toy", "--config-dir", str(files.directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "the environment of hopeless cannot be made" in done.stderr
    assert "toy is installed" in done.stderr


def test_leaving_does_not_wait_for_an_environment(files: Config, toy: Toy, serve: Serve) -> None:
    """The package is so big that it would take a while; here a build that never ends."""
    toy.take_for_ever()
    files.define("base")
    files.deploy("chat", model="base", engine="toy")
    daemon = serve(engine_dirs=[str(toy.folder)])
    wait_until(lambda: "Building endless" in daemon.model("chat").get("message", ""), "uv builds")
    assert daemon.model("chat")["state"] == "preparing"
    wait_until(lambda: len(toy.builders()) > 1, "the build has begun")
    assert daemon.leave() == 0
    wait_until(lambda: not toy.builders(), "what uv had begun has ended, too")


def test_a_launch_that_failed_for_its_environment_is_tried_anew_by_the_next_one(
    files: Config, toy: Toy, serve: Serve
) -> None:
    """Nobody asks for a reload who may only launch."""
    toy.ask_for("toy-library==1.0", "nowhere==1.0")
    files.define("base")
    daemon = serve(engine_dirs=[str(toy.folder)])
    body = {"model_name": "base", "model_uid": "chat", "model_engine": "toy"}
    status, answer = daemon.post("/v1/models", body)
    assert status == 503
    assert "nowhere was not found in the package registry" in answer["detail"]
    wheel(toy.shelf, "nowhere", "1.0")
    assert daemon.post("/v1/models", body) == (200, {"model_uid": "chat"})
    assert daemon.model("chat")["state"] == "ready"


def test_a_launch_can_be_ended_while_its_environment_is_made(files: Config, toy: Toy, serve: Serve) -> None:
    toy.take_for_ever()
    files.define("base")
    daemon = serve(engine_dirs=[str(toy.folder)])
    body = {"model_name": "base", "model_uid": "chat", "model_engine": "toy"}
    assert daemon.post("/v1/models?wait_ready=false", body)[0] == 200
    wait_until(lambda: "Building endless" in daemon.model("chat").get("message", ""), "uv builds")
    assert daemon.delete("/v1/models/chat")[0] == 200
    daemon.wait_gone("chat")
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})[0] == 404
    assert daemon.leave() == 0


def test_an_environment_that_is_cleared_away_is_made_anew_before_the_next_start(
    files: Config, toy: Toy, serve: Serve
) -> None:
    """What runs goes on; what has to start waits for the new one, and for no back-off."""
    files.define("base")
    files.deploy("chat", model="base", engine="toy")
    daemon = serve(engine_dirs=[str(toy.folder)])
    daemon.wait_state("chat", "ready")
    (environment,) = (files.directory / "state" / "environments").glob("toy-*/")
    shutil.rmtree(environment)
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})[0] == 200
    before = daemon.pid_of("chat")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: _ready_pids(daemon.model("chat")) not in ([], [before]), "it is back")
    assert (environment / "bin" / "python").exists()


def test_a_daemon_that_was_killed_while_it_made_an_environment_makes_it_at_its_next_start(
    files: Config, toy: Toy, serve: Serve
) -> None:
    toy.take_for_ever()
    files.define("base")
    files.deploy("chat", model="base", engine="toy")
    daemon = serve(engine_dirs=[str(toy.folder)])
    wait_until(lambda: "Building endless" in daemon.model("chat").get("message", ""), "uv builds")
    daemon.kill()
    successor = serve(engine_dirs=[str(toy.folder)])
    wait_until(lambda: "another process makes it" in successor.model("chat").get("message", ""), "the orphan builds")
    for pid in toy.builders():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "Building endless" in successor.model("chat").get("message", ""), "uv builds again")
    assert successor.leave() == 0


def _ready_pids(model: dict[str, Any]) -> list[int]:
    return [each["pid"] for each in model["instances"] if each["state"] == "ready"]

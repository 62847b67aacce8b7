"""A real daemon on a real config directory, as a user would run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .daemon import ServedDaemon
from .files import Config

Serve = Callable[..., ServedDaemon]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An empty config directory."""
    directory = tmp_path / "config"
    (directory / "models.d").mkdir(parents=True)
    return directory


@pytest.fixture
def serve(config: Path) -> Iterator[Serve]:
    """Start daemons on the config directory; each is ended, and checked to have left nothing behind."""
    started: list[ServedDaemon] = []

    def start(**settings: object) -> ServedDaemon:
        daemon = ServedDaemon(config, settings)
        started.append(daemon)
        daemon.wait_accepting()
        return daemon

    yield start
    for daemon in started:
        daemon.leave()
    for daemon in started:
        assert daemon.engine_processes() == [], "engines outlived their daemon"


@pytest.fixture
def files(config: Path) -> Config:
    """The config directory, being edited."""
    return Config(config)


@pytest.fixture
def daemon(files: Config, serve: Serve) -> ServedDaemon:
    """The fake engine under the name chat, ready."""
    files.define("base")
    files.deploy_fake("chat", model="base")
    started = serve()
    started.wait_state("chat", "ready")
    return started

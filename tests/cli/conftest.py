"""Scripted daemons, and ways to run the command line against them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from xserve.cli.main import main

from .scripted import Handler, Outcome, Script, UnixServer, serving


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon of the machine that runs the tests is found by accident."""
    for name in ("XSERVE_CONFIG_DIR", "XSERVE_ENDPOINT", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """A scripted daemon on TCP, which the environment names."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("XSERVE_ENDPOINT", address)
    yield from serving(server, Script(address))


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """A config directory whose daemon left no note yet."""
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def unix_script(config_dir: Path) -> Iterator[Script]:
    """A scripted daemon on the admin socket of `config_dir`."""
    path = config_dir / "s"
    note = {"pid": os.getpid(), "admin_socket": str(path), "url": None, "version": "0"}
    (config_dir / "run" / "daemon.json").write_text(json.dumps(note))
    yield from serving(UnixServer(str(path), Handler), Script(f"unix:{path}"))


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def xserve(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command line in this process."""

    def run(*words: str) -> Outcome:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as left:  # argparse leaves so
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def child() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command line in a process of its own, through the real entry point."""

    def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        more = {"capture_output": True, "stdin": subprocess.DEVNULL, "text": True, "timeout": 60, **more}
        return subprocess.run([sys.executable, "-m", "xserve", *words], **more)

    return run

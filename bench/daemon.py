"""Starts `xserve serve` on a config directory of its own, asks it things, and sees that nothing outlives it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

XSERVE = [sys.executable, "-m", "xserve"]
PATIENCE = 300.0  # seconds; for things that take one or two, or a minute where a large library is loaded
ENGINES = Path(__file__).resolve().parent / "engines"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Of what is measured: compiled modules are kept, as they are wherever nobody forbids it."""
_POLL = 0.002  # seconds
_T = TypeVar("_T")


def until(what: Callable[[], _T], why: str, pause: float = _POLL) -> _T:
    """Ask until the answer is true, and return it; `pause` seconds between two questions."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE:g} s in vain: {why}")
        time.sleep(pause)
    return found


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


class Daemon:
    """One run of the daemon. Its engines' folders are ours and the ones that ship."""

    def __init__(self, config: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.config = config
        settings = {"version": 1, "port": 0, "engine_dirs": [str(ENGINES)], **(settings or {})}
        place(config / "xserve.yaml", settings)
        self.contact: dict[str, Any] = {}
        self._log = config.parent / "daemon.log"
        with self._log.open("ab") as log:
            command = [*XSERVE, "serve", "--config-dir", str(config), "--log-level", "warning"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=ENVIRONMENT)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.contact["url"].rpartition(":")[2])

    def wait_listening(self) -> None:
        """Until it says where."""
        self.contact = until(self._contact, "the daemon listens")

    def wait_ready(self) -> None:
        """Until the first pass over all files is done."""
        self.wait_listening()
        until(lambda: self.get("/readyz")[0] == 200, "the first pass is done")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, Any]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def instance(self, uid: str) -> dict[str, Any]:
        """The ready replica of a deployment, once there is one."""
        return until(lambda: self._ready(uid), f"{uid} is ready")

    def engine_socket(self, uid: str) -> str:
        """Where the ready replica of a deployment listens."""
        return f"{os.path.dirname(self.contact['admin_socket'])}/{self.instance(uid)['instance']}.sock"

    def resident(self) -> float:
        """Megabytes (10^6 bytes) of memory that the daemon's process holds."""
        found = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) * 1024 / 1e6 if found else 0.0

    def leave(self) -> None:
        """End it, and make sure that nothing is left."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
        left = [pid for pid in _processes() if str(self.config).encode() in _marks(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        if left:
            raise SystemExit(f"the daemon left {len(left)} processes behind: {left}")

    def _contact(self) -> dict[str, Any]:
        if self.process.poll() is not None:
            raise SystemExit(f"the daemon has ended: {self._log.read_text()}")
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.config / "run" / "daemon.json").read_text())
            return dict(found) if found["pid"] == self.pid else {}
        return {}

    def _ready(self, uid: str) -> dict[str, Any] | None:
        models = self.get("/xserve/v1/status")[1]["models"]
        instances = [each for model in models if model["uid"] == uid for each in model["instances"]]
        return next((each for each in instances if each["state"] == "ready"), None)


@contextlib.contextmanager
def config_directory() -> Iterator[Path]:
    """An empty config directory, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="xserve-bench-") as folder:
        config = Path(folder) / "config"
        (config / "models.d").mkdir(parents=True)
        yield config


@contextlib.contextmanager
def serving(config: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Daemon]:
    """A daemon on a config directory, with further settings, ready, and ended afterwards."""
    daemon = Daemon(config, settings)
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        daemon.leave()


def place(path: Path, content: object) -> None:
    """Put a JSON file in place at once, as configuration managers do."""
    prepare(path, content)()


def prepare(path: Path, content: object) -> Callable[[], None]:
    """Write a file beside its place; calling the result renames it into place."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(content))
    return lambda: os.replace(temporary, path)


def definition(name: str, weights: str) -> dict[str, Any]:
    """An LLM from a GGUF file."""
    spec = {"model_format": "ggufv2", "model_size_in_billions": "0_135", "quantization": "Q4_1", "model_uri": weights}
    return {
        "version": 2,
        "model_name": name,
        "model_family": name,
        "context_length": 2048,
        "model_lang": ["en"],
        "model_ability": ["generate", "chat"],
        "model_specs": [spec],
    }


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _marks(pid: int) -> bytes:
    """The environment and command line of a process, which name the config directory it belongs to."""
    found = b""
    for name in ("environ", "cmdline"):
        with contextlib.suppress(OSError):
            found += Path(f"/proc/{pid}/{name}").read_bytes()
    return found

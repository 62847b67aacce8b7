"""What a shim is told: one JSON file, written by the daemon before it starts the shim.

A NamedTuple where the rest of the house has dataclasses: those would add a quarter to the shim's start.
"""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

Policy = Literal["stop", "keep"]


class Spec(NamedTuple):
    """One engine's process, its files and what becomes of it when the daemon goes."""

    instance: str
    digest: str  # of the launch
    nonce: str  # what a peer on the control socket has to show
    policy: Policy  # when the daemon is gone: `stop` the tree, or `keep` it for the next daemon
    adopt_timeout: float  # seconds that a kept tree waits for the next daemon
    argv: list[str]
    env: dict[str, str]  # the whole environment of the engine
    grace: float  # seconds between SIGTERM and SIGKILL of the tree
    directory: str  # of the instance: records are written here, and the engine starts in it
    log: str
    log_max_bytes: int  # per file
    log_keep: int  # rotated files beside the current one
    socket: str  # of the engine; removed when the tree is gone
    control: str  # of the shim

    def record(self, name: str) -> str:
        """Path of one of the instance's records: `intent.json`, `fact.json` or `exit.json`."""
        return f"{self.directory}/{name}"


def read_spec(path: str) -> Spec:
    """The spec in the file. Raises OSError, ValueError or TypeError: only the daemon writes such files."""
    with open(path, encoding="utf-8") as file:
        return Spec(**json.load(file))

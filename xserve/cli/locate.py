"""Finds the daemon: what the command line says, else the environment, else the daemon of this machine.

A running daemon leaves a note in its runtime layer that names its admin socket and its address. The socket is
tried first: it holds all scopes. The address serves whoever may not open the socket.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xserve.cli.command import Arguments

DEFAULT_ENDPOINT = "http://127.0.0.1:9997"
SYSTEM_NOTE = Path("/run/xserve/daemon.json")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a daemon may be, as a sentence can name it."""

    addresses: tuple[str, ...]  # http://..., https://... or unix:/path; the first that answers is meant
    tried: str  # what to tell when none answers
    named: bool  # somebody named this daemon: another one, or none, will not do


def locate(args: Arguments, environ: Mapping[str, str] = os.environ) -> Target:
    """Where to look for the daemon that a command is meant for."""
    if getattr(args, "endpoint", None):
        return _at(args.endpoint, "--endpoint")
    if args.config_dir:
        return _of_directory(Path(args.config_dir))
    if environ.get("XSERVE_CONFIG_DIR"):
        return _of_directory(Path(environ["XSERVE_CONFIG_DIR"]))
    if environ.get("XSERVE_ENDPOINT"):
        return _at(environ["XSERVE_ENDPOINT"], "XSERVE_ENDPOINT")
    return _of_this_machine(environ)


def _at(endpoint: str, said_by: str) -> Target:
    address = endpoint if ":" in endpoint.partition("//")[0] else f"http://{endpoint}"
    return Target((address.rstrip("/"),), f"{endpoint} ({said_by})", named=True)


def _of_directory(directory: Path) -> Target:
    note = directory / "run" / "daemon.json"
    return Target(tuple(_addresses(note)), f"the daemon of {directory} ({_state(note)})", named=True)


def _of_this_machine(environ: Mapping[str, str]) -> Target:
    own = environ.get("XDG_RUNTIME_DIR")
    notes = [*([Path(own) / "xserve" / "daemon.json"] if own else []), SYSTEM_NOTE]
    note = next((note for note in notes if note.exists()), None)
    found = tuple(_addresses(note)) if note else ()
    tried = f"{note} ({_state(note)})" if note else ", ".join(map(str, notes)) + " (none is there)"
    return Target((*found, DEFAULT_ENDPOINT), f"{tried}, {DEFAULT_ENDPOINT}", named=False)


def _addresses(note: Path) -> Iterator[str]:
    """The addresses in a daemon's note; none where there is no readable note."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if content.get("admin_socket"):
        yield f"unix:{content['admin_socket']}"
    if content.get("url"):
        yield str(content["url"])


def _state(note: Path) -> str:
    """What a sentence says about a note."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{note} is not there: it is not running"
    except (OSError, ValueError) as error:
        return f"cannot read {note}: {error}"
    return f"{note} names process {content.get('pid')}"

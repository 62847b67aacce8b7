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
from typing import Any

from xserve.cli.command import Arguments
from xserve.files.layers import Layers

DEFAULT_ENDPOINT = "http://127.0.0.1:9997"
SYSTEM_NOTE = Path("/run/xserve/daemon.json")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a daemon may be, as a sentence can name it."""

    addresses: tuple[str, ...]  # http://..., https://... or unix:/path; the first that answers is meant
    tried: str  # what to tell when none answers
    elsewhere: bool  # an address was named: what lies on this machine need not be what that daemon serves


def locate(args: Arguments, environ: Mapping[str, str] = os.environ) -> Target:
    """Where to look for the daemon that a command is meant for."""
    if args.endpoint:
        return _at(args.endpoint, "--endpoint")
    if args.config_dir or environ.get("XSERVE_CONFIG_DIR"):
        return _of_directory(Layers.find(args.config_dir, environ))
    if environ.get("XSERVE_ENDPOINT"):
        return _at(environ["XSERVE_ENDPOINT"], "XSERVE_ENDPOINT")
    return _of_this_machine(Layers.find(None, environ).daemon_file)


def _at(endpoint: str, said_by: str) -> Target:
    spelt_out = endpoint.startswith("unix:") or "://" in endpoint
    address = endpoint if spelt_out else f"http://{endpoint}"
    return Target((address.rstrip("/"),), f"{endpoint} ({said_by})", elsewhere=True)


def _of_directory(layers: Layers) -> Target:
    note = layers.daemon_file
    return Target(tuple(_addresses(note)), f"the daemon of {layers.describe()} ({_state(note)})", elsewhere=False)


def _of_this_machine(own: Path) -> Target:
    """The user's own daemon, else the system's, else whoever listens where daemons do by default."""
    note = own if own.exists() else SYSTEM_NOTE
    tried = f"{own}, {note}" if note != own else str(own)
    return Target(
        (*_addresses(note), DEFAULT_ENDPOINT), f"{tried} ({_state(note)}), {DEFAULT_ENDPOINT}", elsewhere=False
    )


def _addresses(note: Path) -> Iterator[str]:
    """The addresses in a daemon's note; none where there is no readable note."""
    try:
        content = _read(note)
    except (OSError, ValueError):
        return
    if content.get("admin_socket"):
        yield f"unix:{content['admin_socket']}"
    if content.get("url"):
        yield str(content["url"])


def _state(note: Path) -> str:
    """What a sentence says about a note."""
    try:
        return f"{note} names process {_read(note).get('pid')}"
    except FileNotFoundError:
        return f"{note} is not there: it is not running"
    except OSError as error:
        return f"cannot read {note}: {error.strerror}"
    except ValueError as error:
        return f"cannot read {note}: {error}"


def _read(note: Path) -> dict[str, Any]:
    """A daemon's note. Raises OSError or ValueError."""
    content = json.loads(note.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it does not hold a JSON object")
    return content

"""The layers, and what lies in each: a source is one directory, or one file, of one kind in one layer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, NamedTuple

from xserve.files.names import counts

Kind = Literal["model", "deploy", "settings"]
Layer = Literal["builtin", "state", "runtime", "admin"]

PRECEDENCE: tuple[Layer, ...] = ("builtin", "state", "runtime", "admin")
"""Lowest first, as systemd orders them: /usr below /var below /run below /etc.

What people write wins over what the API wrote, what was meant for now wins over what was meant to last, and
both win over what was shipped."""


API_LAYERS: frozenset[Layer] = frozenset({"state", "runtime"})
"""Written by the daemon for its API."""


@dataclass(frozen=True, slots=True)
class Source:
    """One directory of files, or one file, that belongs to a layer."""

    layer: Layer
    kind: Kind
    path: str
    single: bool = False
    """The path is a file, not a directory. Its absence is an ordinary state as long as its directory is there."""
    roots: tuple[str, ...] = ()
    """Directories, besides its own, that links may lead into."""

    @property
    def directory(self) -> str:
        """The directory whose entries are looked at."""
        return os.path.dirname(self.path) if self.single else self.path

    def allowed(self) -> tuple[str, ...]:
        """The real paths under which its files may lie."""
        return tuple(os.path.realpath(root) for root in (self.directory, *self.roots))


class Entry(NamedTuple):
    """One name that counts, with what it leads to."""

    path: str
    stat: os.stat_result | OSError
    link: bool


class Unavailable(Exception):
    """The directory cannot be listed, so nothing is known about its files; the argument is a predicate."""


def entries(source: Source) -> list[Entry]:
    """What a source holds now. Raises Unavailable where its directory is missing or cannot be listed."""
    only = os.path.basename(source.path) if source.single else None
    try:
        with os.scandir(source.directory) as listing:
            wanted = [item for item in listing if (item.name == only if only else counts(item.name))]
            return [entry for entry in map(_entry, wanted) if entry is not None]
    except OSError as fault:
        missing = isinstance(fault, FileNotFoundError)
        raise Unavailable("does not exist" if missing else f"cannot be listed: {fault.strerror}") from fault


def _entry(item: os.DirEntry[str]) -> Entry | None:
    """The entry, or None where it went away between the listing and the question."""
    path = item.path
    link = item.is_symlink()
    try:
        return Entry(path, item.stat(), link)
    except FileNotFoundError as fault:
        return Entry(path, fault, link) if link else None
    except OSError as fault:
        return Entry(path, fault, link)

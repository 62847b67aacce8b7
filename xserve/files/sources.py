"""The layers, and what lies in each: a source is one directory, or one file, of one kind in one layer."""

from __future__ import annotations

import os
import stat
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

    def holds(self, path: str) -> bool:
        """Whether a file at `path` would be one of its own."""
        if self.single:
            return path == self.path
        directory, name = os.path.split(path)
        return directory == self.path and counts(name)

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
    try:
        # One descriptor for all: a directory that is replaced meanwhile is not mixed with its successor, and
        # the kernel need not walk the whole path for each of thousands of names.
        directory = os.open(source.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _entries(source, directory)
        finally:
            os.close(directory)
    except OSError as fault:
        missing = isinstance(fault, FileNotFoundError)
        raise Unavailable("does not exist" if missing else f"cannot be listed: {fault.strerror}") from fault


def entry_of(source: Source, path: str) -> Entry | None:
    """What one of its names leads to now; None where it is not there, or the directory cannot be opened."""
    try:
        directory = os.open(source.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        name = os.path.basename(path)
        link = stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
        return Entry(path, os.stat(name, dir_fd=directory), link)
    except OSError:
        return None
    finally:
        os.close(directory)


def _entries(source: Source, directory: int) -> list[Entry]:
    only = os.path.basename(source.path) if source.single else None
    parent = os.path.join(source.directory, "")
    with os.scandir(directory) as listing:
        wanted = [item for item in listing if (item.name == only if only else counts(item.name))]
    found = (_entry(parent + item.name, item, directory) for item in wanted)
    return [entry for entry in found if entry is not None]


def _entry(path: str, item: os.DirEntry[str], directory: int) -> Entry | None:
    """The entry, or None where it went away between the listing and the question."""
    link = item.is_symlink()
    try:
        return Entry(path, os.stat(item.name, dir_fd=directory), link)
    except FileNotFoundError as fault:
        return Entry(path, fault, link) if link else None
    except OSError as fault:
        return Entry(path, fault, link)

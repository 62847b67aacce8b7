"""Wakes the one who looks at the files, as early as the kernel allows. Nothing depends on it.

An event says no more than "look again", and where to look first. What matters is what kernels and
libraries do not tell: a directory that was removed, replaced or reached through a link that was turned is
watched no more, silently. Therefore a directory's parent is watched too, and `arm`, called after every look,
compares what is watched with what is there. Where watching is impossible, `state` says so, and the
periodic look finds everything a little later.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from watchdog import events as ev
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

# Opening and reading a file is not in the list: our own look would wake us again.
_CHANGES: list[type[ev.FileSystemEvent]] = [
    ev.FileCreatedEvent,
    ev.FileModifiedEvent,
    ev.FileClosedEvent,
    ev.FileMovedEvent,
    ev.FileDeletedEvent,
    ev.FileAttribEvent,
    ev.DirCreatedEvent,
    ev.DirModifiedEvent,
    ev.DirMovedEvent,
    ev.DirDeletedEvent,
    ev.DirAttribEvent,
]
# File systems whose other clients' changes raise no event here.
_REMOTE = ("nfs", "cifs", "smb", "9p", "fuse", "ceph", "glusterfs", "lustre", "afs", "beegfs", "gpfs", "virtiofs")

Identity = tuple[int, int]
Wake = Callable[[Collection[str]], None]
"""Called with the paths that an event names; some may be of no interest, and some may be missing."""


@dataclass(slots=True)
class _Armed:
    """A directory that is watched."""

    identity: Identity  # device and inode when the watch was set
    names: frozenset[str] | None  # only events of these entries matter; None: all do
    watch: ObservedWatch
    handler: _Handler


class _Handler(ev.FileSystemEventHandler):
    """Passes events on, of all entries or of some."""

    def __init__(self, path: str, names: frozenset[str] | None, wake: Wake) -> None:
        self._path = path
        self._names = names
        self._wake = wake
        self.lost = False
        """The directory itself went away, and the watch with it."""

    def dispatch(self, event: ev.FileSystemEvent) -> None:
        paths = {os.fsdecode(path) for path in (event.src_path, event.dest_path) if path}
        if isinstance(event, ev.DirDeletedEvent) and self._path in paths:
            self.lost = True
        if self.lost or self._names is None or self._names & {os.path.basename(path) for path in paths}:
            self._wake(paths)


class Watch:
    """Watches directories, not what is below them. `wake` is called from a thread of the watch.

    `arm` may be under way in a thread while `state` is asked for, or `close` called, in another one.
    """

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._armed: dict[str, _Armed] = {}
        self._troubles: dict[str, str] = {}
        self._observer: BaseObserver | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def state(self) -> str:
        """What is watched and what is not, a sentence for people."""
        words = f"watching {len(self._armed)} directories"
        return "; ".join((words, *(f"{path}: {trouble}" for path, trouble in sorted(self._troubles.items()))))

    def arm(self, directories: Iterable[str]) -> None:
        """Watch these directories as they are now, and their parents for the day they are replaced.

        Raises nothing: what cannot be watched is told by `state`.
        """
        with self._lock:
            if not self._closed:
                self._troubles = self._arm(_with_parents(directories))

    def _arm(self, wanted: Mapping[str, frozenset[str] | None]) -> dict[str, str]:
        """Watch these paths; what is wrong with some of them. The old troubles are told until the new are known."""
        try:
            observer = self._start()
        except OSError as fault:
            return {"inotify": _not_watched(fault)}
        for path in [path for path, armed in self._armed.items() if not self._stands(path, armed, wanted)]:
            self._disarm(observer, self._armed.pop(path))
        added = ((path, self._add(observer, path, names)) for path, names in wanted.items() if path not in self._armed)
        return {path: trouble for path, trouble in added if trouble} | _remote(wanted)

    def close(self) -> None:
        """Stop watching; `wake` is not called any more once this returns."""
        with self._lock:
            self._closed = True
            self._armed.clear()
            observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()

    def _start(self) -> BaseObserver:
        """The observer, running. Raises OSError where the system grants none."""
        if self._observer is None or not self._observer.is_alive():
            self._armed.clear()
            self._observer = None
            observer = Observer()
            observer.start()
            self._observer = observer
        return self._observer

    def _stands(self, path: str, armed: _Armed, wanted: Mapping[str, frozenset[str] | None]) -> bool:
        same = path in wanted and wanted[path] == armed.names and _identity(path) == armed.identity
        return same and not armed.handler.lost and self._is_alive(armed.watch)

    def _is_alive(self, watch: ObservedWatch) -> bool:
        """Whether the thread behind a watch lives. The observer lives on when it does not."""
        emitters = self._observer.emitters if self._observer else ()
        return any(emitter.watch == watch and emitter.is_alive() for emitter in emitters)

    def _add(self, observer: BaseObserver, path: str, names: frozenset[str] | None) -> str:
        """Watch a directory that is there; returns "", or why it cannot be watched."""
        identity = _identity(path)
        if identity is None:
            return ""
        handler = _Handler(path, names, self._wake)
        try:
            watch = observer.schedule(handler, path, event_filter=_CHANGES, follow_symlink=True)
        except OSError as fault:
            return _not_watched(fault)
        self._armed[path] = _Armed(identity, names, watch, handler)
        return ""

    def _disarm(self, observer: BaseObserver, armed: _Armed) -> None:
        with contextlib.suppress(KeyError, OSError):  # it may have died by itself
            observer.unschedule(armed.watch)


def _with_parents(directories: Iterable[str]) -> dict[str, frozenset[str] | None]:
    """The directories, each with None, and their parents with the names that matter in them.

    A directory that is reached through a link is watched where it really is, and its name where the link is.
    """
    wanted: dict[str, frozenset[str] | None] = {}
    for path in directories:
        for place in {path, os.path.realpath(path)}:
            parent, name = os.path.split(place)
            here = wanted.get(parent, frozenset())
            wanted[parent] = None if here is None else here | {name}
        wanted[path] = None
    return wanted


def _identity(path: str) -> Identity | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _not_watched(fault: OSError) -> str:
    return f"not watched ({fault.strerror}); changes are found by the periodic look"


def _remote(paths: Iterable[str]) -> dict[str, str]:
    """The paths on file systems that do not report what other machines change, each with a sentence."""
    mounts = _mounts()
    kinds = {path: _file_system(os.path.realpath(path), mounts) for path in paths}
    return {
        path: f"on {kind}, which reports no changes made elsewhere; the periodic look finds them"
        for path, kind in kinds.items()
        if kind.startswith(_REMOTE)
    }


def _mounts() -> dict[str, str]:
    """Mount point -> type of file system."""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ") for line in file]
    except OSError:
        return {}
    return {row[1].replace("\\040", " "): row[2] for row in rows if len(row) > 2}


def _file_system(path: str, mounts: Mapping[str, str]) -> str:
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    return mounts.get(path, "")

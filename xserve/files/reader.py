"""Opening a file that anybody may have put there: never blocks, never follows a link out of bounds.

Links are followed, because Kubernetes, NixOS and stow deliver files as links, but what is opened must lie
under one of the allowed roots. Where it lies is asked of the open descriptor, so that nothing can be
exchanged between the question and the reading.
"""

from __future__ import annotations

import errno
import os
import stat as st
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xserve.files.guard import MAX_BYTES, too_large

Signature = tuple[int, int, int, int, int]
"""Device, inode, size, mtime and ctime in nanoseconds: as long as it stands, the content does too."""

# A file written twice within one tick of a coarse clock keeps its timestamps. Two seconds is the coarsest
# resolution that a file system in use has (FAT).
RACY_NS = 2_000_000_000

_KINDS = (
    (st.S_ISDIR, "a directory"),
    (st.S_ISFIFO, "a pipe"),
    (st.S_ISSOCK, "a socket"),
    (st.S_ISCHR, "a device"),
    (st.S_ISBLK, "a device"),
)
_REASONS = {
    errno.EACCES: "cannot be read: permission denied; it is tried again",
    errno.EPERM: "cannot be read: permission denied; it is tried again",
    errno.ENOENT: "is a link to something that does not exist",
    errno.ELOOP: "is a link that leads back to itself",
}


class Unreadable(Exception):
    """The file cannot be read now; the argument is the predicate of a sentence about it."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file at one moment."""

    raw: bytes
    signature: Signature
    racy: bool
    """Its timestamps are so young that a later write may leave them unchanged."""


def signature_of(stat: os.stat_result) -> Signature:
    """The signature of a file."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def is_null(stat: os.stat_result) -> bool:
    """Whether this is /dev/null, which masks a name."""
    return st.S_ISCHR(stat.st_mode) and stat.st_rdev == os.makedev(1, 3)


def read(path: str, roots: Sequence[str], wall_ns: Callable[[], int]) -> Content:
    """Read a regular file of at most MAX_BYTES that lies under one of `roots` (real paths).

    `wall_ns` is the clock that file timestamps follow. Raises Unreadable.
    """
    try:
        _refuse_irregular(os.stat(path))  # before opening: opening a device can act on it
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            return _read(descriptor, roots, wall_ns)
        finally:
            os.close(descriptor)
    except OSError as fault:
        raise Unreadable(reason_of(fault)) from fault


def reason_of(fault: OSError) -> str:
    """The predicate of a sentence: why a file cannot be read."""
    return _REASONS.get(fault.errno or 0, f"cannot be read: {fault.strerror}; it is tried again")


def _read(descriptor: int, roots: Sequence[str], wall_ns: Callable[[], int]) -> Content:
    stat = os.fstat(descriptor)
    _refuse_irregular(stat)
    _refuse_outside(os.readlink(f"/proc/self/fd/{descriptor}"), roots)
    raw = _read_all(descriptor, stat.st_size)
    signature = signature_of(stat)
    if signature_of(os.fstat(descriptor)) != signature:
        raise Unreadable("is being written")
    return Content(raw, signature, abs(wall_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns)) < RACY_NS)


def _read_all(descriptor: int, size: int) -> bytes:
    if size > MAX_BYTES:
        raise Unreadable(f"is too large: {too_large(size)}")
    chunks = []
    missing = size
    while missing and (chunk := os.read(descriptor, missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _refuse_irregular(stat: os.stat_result) -> None:
    if st.S_ISREG(stat.st_mode):
        return
    kind = next((name for test, name in _KINDS if test(stat.st_mode)), "no regular file")
    raise Unreadable(f"is {kind}, not a file")


def _refuse_outside(real: str, roots: Sequence[str]) -> None:
    if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots):
        raise Unreadable(f"is a link out of the allowed directories, to {real}")

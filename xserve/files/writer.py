"""Writing files of ours so that nobody ever sees half of one, also not after a power cut."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets

_NOT_SLUG = re.compile(r"[^A-Za-z0-9]+")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class StorageFull(OSError):
    """There is no room to write: no space, quota used up, or a read-only file system."""


def replace(path: str, content: bytes, mode: int = 0o600) -> None:
    """Put `content` in place of the file at once and durably. Raises StorageFull or another OSError.

    The temporary file begins with a dot, so that no scan reads it, and is removed where anything goes wrong.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{secrets.token_hex(4)}")
    try:
        _write(temporary, content, mode)
        os.rename(temporary, path)
        sync_directory(directory)
    except OSError as fault:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise typed(fault) from fault


def remove(path: str) -> bool:
    """Remove a file durably; False where there was none. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    sync_directory(os.path.dirname(path))
    return True


def file_name(public: str, suffix: str = ".json") -> str:
    """A file name for a public name: readable, and unlike that of any other name.

    Nothing of the name that could act on a path survives; the hash tells apart names that look alike.
    """
    slug = _NOT_SLUG.sub("-", public).strip("-")[:40].lower()
    digest = hashlib.sha256(public.encode()).hexdigest()[:12]
    return f"{slug}-{digest}{suffix}" if slug else f"{digest}{suffix}"


def typed(fault: OSError) -> OSError:
    """The same error, as StorageFull where it is one."""
    return StorageFull(fault.errno, fault.strerror, fault.filename) if fault.errno in _FULL else fault


def sync_directory(directory: str) -> None:
    """Make a rename or removal in a directory durable."""
    descriptor = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: str, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask says
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

"""Small files that must be whole or absent, and errors of the system in words.

Read by the daemon and by the shim, so nothing but the standard library's lightest modules is imported.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping


def write_json(path: str, content: Mapping[str, object]) -> None:
    """Replace `path` by the content, readable by its owner alone: temporary file, fsync, rename.

    After a crash at any moment `path` holds the old content or the new one. Raises OSError.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        forget(temporary)
        raise


def read_json(path: str) -> dict[str, object]:
    """The object that the file holds; empty where it is absent, unreadable, cut short or not an object."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def forget(path: str) -> None:
    """Remove a file or socket that may be gone already."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def explain(error: BaseException) -> str:
    """An exception in words, with the system's name for it: `No space left on device (ENOSPC)`."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror} ({errno.errorcode.get(error.errno, error.errno)})"
    return str(error) or type(error).__name__

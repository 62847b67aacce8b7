"""One daemon per state directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class AlreadyLockedError(Exception):
    """Another process serves this directory."""

    def __init__(self, directory: Path, holder: int | None) -> None:
        self.holder = holder  # pid; None: it has not said
        who = "another process" if holder is None else f"process {holder}"
        super().__init__(f"{directory} is already served by {who}")


class DirectoryLock:
    """An exclusive lock on a directory; the kernel lets go of it when its holder dies, however it dies.

    The file stays behind on purpose: removing it would let two processes lock two files of one name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises AlreadyLockedError if another process has it, OSError if the file cannot be made."""
        file = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(file, 32)
            os.close(file)
            raise AlreadyLockedError(self._directory, int(text) if text.strip().isdigit() else None) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Let go; harmless if it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> DirectoryLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

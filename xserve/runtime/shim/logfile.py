"""A log file of bounded size, fed from a pipe.

The shim reads the engine's output and writes it here, so that the daemon's end breaks no pipe, a line
without end or a flood fills no disk, and a full disk never blocks the engine: bytes that cannot be
written are counted and dropped, and the first write that works again says how many.
"""

from __future__ import annotations

import itertools
import os

from xserve.runtime.records import explain


class RotatingLog:
    """Appends to `path`; at `max_bytes` it becomes `path.1`, the older ones move up to `path.<keep>`."""

    def __init__(self, path: str, max_bytes: int, keep: int) -> None:
        self.path = path
        self.written = 0  # bytes since the shim started, over all rotations
        self._max_bytes = max_bytes
        self._keep = keep
        self._file: int | None = None
        self._size = 0
        self._lost = 0
        self._trouble = ""

    def write(self, data: bytes) -> None:
        """Append, rotating at a line's end where there is one. Never raises."""
        try:
            if self._lost:
                self._confess()
            while data:
                data = data[self._append(data) :]
        except OSError as error:
            self._lost += len(data)
            self._trouble = explain(error)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, data: bytes) -> int:
        """Write as much of the data as belongs into the current file; returns the number of bytes."""
        file = self._opened()
        fitting = self._fitting(data)
        if not fitting:
            self._rotate()
            return 0
        count = os.write(file, data[:fitting])
        self._size += count
        self.written += count
        return count

    def _fitting(self, data: bytes) -> int:
        """How much goes into the current file: whole lines; a part of one only if a file cannot hold it."""
        room = max(self._max_bytes - self._size, 0)
        if len(data) <= room:
            return len(data)
        lines = data.rfind(b"\n", 0, room) + 1
        return lines or (room if self._size == 0 else 0)

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._file).st_size
        return self._file

    def _rotate(self) -> None:
        self.close()
        names = [self.path, *(f"{self.path}.{number}" for number in range(1, self._keep + 1))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            if os.path.exists(newer):
                os.replace(newer, older)
        if not self._keep:
            os.unlink(self.path)

    def _confess(self) -> None:
        sentence = f"[xserve] {self._lost} bytes of this log were lost: {self._trouble}\n".encode()
        while sentence:
            sentence = sentence[self._append(sentence) :]
        self._lost = 0

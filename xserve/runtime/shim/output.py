"""The pipe between what the engine prints and its log."""

from __future__ import annotations

import contextlib
import fcntl
import os

from xserve.runtime.shim.logfile import RotatingLog

_CHUNK = 64 * 1024  # bytes moved at a time, so that nothing else waits for long
_PIPE = 1024 * 1024  # bytes that the engine may be ahead of the log; the kernel's limit for users
_F_SETPIPE_SZ = 1031


class Output:
    """The engine's stdout and stderr, moved to the log piece by piece."""

    def __init__(self, log: RotatingLog) -> None:
        self._log = log
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        with contextlib.suppress(OSError):  # the user's share of pipe memory is used up; the default size does
            fcntl.fcntl(self.write_end, _F_SETPIPE_SZ, _PIPE)

    def given_away(self) -> None:
        """The engine has the write end now, or will never have it."""
        os.close(self.write_end)

    def move(self) -> bool:
        """Move one piece, if there is one; returns whether more may come: False is the end of all writers."""
        data = self._read()
        self._log.write(data or b"")
        return data != b""

    def drain(self) -> None:
        """Move all that was written last, and close the log."""
        while data := self._read():
            self._log.write(data)
        self._log.close()

    def _read(self) -> bytes | None:
        """A piece; empty at the end, None where there is nothing at the moment."""
        try:
            return os.read(self.read_end, _CHUNK)
        except BlockingIOError:
            return None

"""Reading an instance's log while its shim writes and rotates it.

`path` is the newest file, `path.1` the one before it, and so on. Text is decoded leniently, and a line is cut
at a bound with a mark, because an engine may print anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO

MAX_LINE = 4096
"""Bytes of a line that are shown."""

_CHUNK = 64 * 1024
_PAUSE = 0.1  # seconds between two looks for news
_GAP = "[xserve] lines are missing here: the log was rotated away"


def tail(path: str, lines: int, max_bytes: int = 256 * 1024) -> list[str]:
    """The last lines over all rotated files, reading at most `max_bytes`; empty where there is no log."""
    data = b""
    for name in _rotated(path):
        # It may be moved on or away since the look.
        with contextlib.suppress(FileNotFoundError), open(name, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - (max_bytes - len(data))))
            data = file.read(max_bytes - len(data)) + data
        if len(data) >= max_bytes or data.count(b"\n") > lines:
            break
    splitter = _Splitter()
    found = [*splitter.feed(data), *splitter.end()]
    return found[max(0, len(found) - lines) :]


async def follow(path: str, *, from_end: bool, ended: asyncio.Event) -> AsyncIterator[str]:
    """Each line as it comes, over rotations, until `ended` is set and all that was written has been given.

    From the oldest file that is kept, or from the end of the newest. A log that does not exist yet is awaited.
    """
    reader = _Reader(path, from_end)
    try:
        while True:
            last_look = ended.is_set()
            for line in reader.news():
                yield line
            if last_look:
                break
            await _pause(ended)
        for line in reader.splitter.end():
            yield line
    finally:
        reader.close()


async def _pause(ended: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PAUSE):
            await ended.wait()


def _rotated(path: str) -> list[str]:
    """The files of the log that exist, newest first."""
    names = [path]
    while os.path.exists(f"{path}.{len(names)}"):
        names.append(f"{path}.{len(names)}")
    return names if os.path.exists(path) else names[1:]


class _Splitter:
    """Makes lines of bytes; holds no more than one line's bound."""

    def __init__(self) -> None:
        self._line = b""
        self._more = 0  # bytes of the current line beyond the bound

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that the data completes."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._extend(part)
            yield self._take()
        self._extend(rest)

    def end(self) -> Iterator[str]:
        """The last line, if it has no end."""
        if self._line:
            yield self._take()

    def _extend(self, part: bytes) -> None:
        room = MAX_LINE - len(self._line)
        self._line += part[:room]
        self._more += max(0, len(part) - room)

    def _take(self) -> str:
        mark = f" [… {self._more} more bytes]" if self._more else ""
        text = self._line.removesuffix(b"\r").decode(errors="replace") + mark
        self._line, self._more = b"", 0
        return text


class _Reader:
    """Holds the file being read open, so that a rotation under its feet loses nothing."""

    def __init__(self, path: str, from_end: bool) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self.splitter = _Splitter()
        if from_end and os.path.exists(path):
            self._file = open(path, "rb")  # noqa: SIM115  # kept open; `close` closes it
            self._file.seek(0, os.SEEK_END)

    def news(self) -> Iterator[str]:
        """Every line that has been completed since the last call."""
        while True:
            # Asked before the rest is read: a file that has a successor gets no more bytes.
            newer, gap = self._newer()
            yield from self._rest()
            if newer is None:
                return
            if gap:
                yield _GAP
            self._turn_to(newer)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _newer(self) -> tuple[str | None, bool]:
        """The file to read after the current one, and whether files between them are gone."""
        names = _rotated(self._path)
        if self._file is None:
            return (names[-1] if names else None), False
        here = os.fstat(self._file.fileno())
        for number, name in enumerate(names):
            if _same(name, here):
                return (names[number - 1] if number else None), False
        return (names[-1] if names else None), True

    def _rest(self) -> Iterator[str]:
        while self._file is not None and (data := self._file.read(_CHUNK)):
            yield from self.splitter.feed(data)

    def _turn_to(self, name: str) -> None:
        self.close()
        # It may have been rotated away since the look: then the next look begins with the oldest.
        with contextlib.suppress(FileNotFoundError):
            self._file = open(name, "rb")  # noqa: SIM115  # kept open; `close` closes it


def _same(name: str, here: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(name), here)
    except FileNotFoundError:
        return False

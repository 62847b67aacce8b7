"""The last accepted generation, kept on disk so that a broken file costs nothing after a restart.

A file of lines, each a CRC-32 and a JSON record; the last record of a path counts. A pass appends what changed
and syncs once. When the file has grown to twice what its live records need, it is rewritten. Whatever cannot be
used, a torn end or the file of a newer version, is set aside beside it and never stops the daemon.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from xserve.files.writer import replace

FORMAT = 1
_HEADER = {"format": FORMAT}
# Below this a rewrite is not worth its syncs.
_SMALL = 1 << 16


@dataclass(frozen=True, slots=True)
class Row:
    """One document in force, as it is kept."""

    path: str
    layer: str
    kind: str
    content_hash: str
    document_hash: str
    data: Any
    signature: tuple[int, ...] | None  # of the file when it was read; None: not to be relied on
    owns: tuple[tuple[str, ...], ...]  # the names that it had, so that a rival does not take them at start
    warnings: tuple[tuple[int, int, str, str], ...]  # line, column, field, sentence
    version: str  # of the program whose judgement this is


_MEMBERS = {field.name for field in fields(Row)}


class Journal:
    """The file at `path`; its directory must exist when something is saved.

    `read_only` is for those who only ask what a daemon would do: nothing is written or set aside.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self.path = path
        self._read_only = read_only
        self.behind = False
        """The file lacks something that was to be saved: the next save rewrites it."""
        self._live: dict[str, int] = {}  # path -> size of its record
        self._size = 0

    def load(self) -> tuple[list[Row], tuple[str, ...]]:
        """The rows kept, and a sentence for each thing that was set aside. Raises nothing."""
        try:
            with open(self.path, "rb") as file:
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return [], ()
        except OSError as fault:
            self.behind = True
            return [], (f"The accepted state {self.path} cannot be read: {fault.strerror}.",)
        if not lines or (_decode(lines[0]) or {}).get("format") != FORMAT:
            self.behind = True
            return [], (self._set_aside(b"".join(lines), "is damaged or was written by another version"),)
        return self._rows(lines[1:])

    def save(self, changed: Iterable[Row], gone: Iterable[str], everything: Callable[[], Iterable[Row]]) -> str:
        """Keep what changed; `everything` gives all rows in force, for a rewrite.

        Returns "", or a sentence where it could not be written; then `behind` is set and nothing is lost but
        durability.
        """
        if self._read_only:
            return ""
        try:
            if self.behind or self._size == 0:
                self._rewrite(everything())
            else:
                self._append(changed, gone)
                if self._size > max(_SMALL, 2 * sum(self._live.values())):
                    self._rewrite(everything())
        except OSError as fault:
            self.behind = True
            return f"The accepted state is not persisted: {fault.strerror} ({self.path}); it is tried again."
        self.behind = False
        return ""

    def _rows(self, lines: list[bytes]) -> tuple[list[Row], tuple[str, ...]]:
        rows: dict[str, Row] = {}
        damaged = []
        for line in lines:
            record = _decode(line)
            row = _row(record) if record is not None else None
            if row is not None:
                rows[row.path] = row
                self._live[row.path] = len(line)
            elif record is not None and record.keys() == {"path", "gone"}:
                rows.pop(record["path"], None)
                self._live.pop(record["path"], None)
            else:
                damaged.append(line)
        self._size = sum(map(len, lines))
        self.behind = bool(damaged)
        notes = (self._set_aside(b"".join(damaged), f"has {len(damaged)} damaged lines"),) if damaged else ()
        return list(rows.values()), notes

    def _append(self, changed: Iterable[Row], gone: Iterable[str]) -> None:
        lines = []
        for row in changed:
            lines.append(_encode(_record(row)))
            self._live[row.path] = len(lines[-1])
        for path in gone:
            lines.append(_encode({"path": path, "gone": True}))
            self._live.pop(path, None)
        content = b"".join(lines)
        with open(self.path, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(content)

    def _rewrite(self, rows: Iterable[Row]) -> None:
        lines = {row.path: _encode(_record(row)) for row in rows}
        replace(self.path, b"".join((_encode(_HEADER), *lines.values())))
        self._live = {path: len(line) for path, line in lines.items()}
        self._size = sum(self._live.values()) or 1

    def _set_aside(self, content: bytes, what: str) -> str:
        aside = f"{self.path}.set-aside"
        if self._read_only:
            return f"The accepted state {self.path} {what}."
        with contextlib.suppress(OSError):  # it is of use to a curious person only
            replace(aside, content)
        return f"The accepted state {self.path} {what}; that part was set aside as {aside}."


def _record(row: Row) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _encode(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None where the line is not whole."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text) or not line.endswith(b"\n"):
        return None
    record = json.loads(text)
    return record if isinstance(record, dict) else None


def _row(record: dict[str, Any]) -> Row | None:
    """The row of a record; None where its members are not those of a row."""
    if record.keys() != _MEMBERS:
        return None
    signature = record["signature"]
    return Row(
        **{
            **record,
            "signature": signature and tuple(signature),
            "owns": tuple(tuple(name) for name in record["owns"]),
            "warnings": tuple(tuple(warning) for warning in record["warnings"]),
        }
    )

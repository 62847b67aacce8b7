"""The header of a GGUF file: enough of it to say why a file cannot be served before a library is loaded.

A file is a magic number, a version, two counts, key-value pairs and the tensors' names and places; all
numbers are little-endian. Arrays are walked over and only remembered by their place: a vocabulary of
150,000 tokens is decoded when somebody asks for a token, and only that one.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xserve_engine.launch import BAD_WEIGHTS, Refusal

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
MAX_PAIRS, MAX_TENSORS = 10_000, 1_000_000  # far above any real file; a broken one may claim anything


@dataclass(frozen=True, slots=True)
class Array:
    """An array that was walked over: where it is and what it holds."""

    kind: int
    count: int
    place: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says."""

    path: Path
    values: Mapping[str, Any]
    tensors: frozenset[str]

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", ""))

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained for; 0 where the file does not say."""
        return int(self.values.get(f"{self.architecture}.context_length", 0))

    @property
    def causal(self) -> bool:
        """Whether it can generate text: encoders say that their attention is not causal."""
        return bool(self.values.get(f"{self.architecture}.attention.causal", True))

    @property
    def chat_template(self) -> str | None:
        return self.values.get("tokenizer.chat_template")

    @property
    def scores(self) -> bool:
        """Whether it has the head that a reranker needs."""
        return not self.tensors.isdisjoint({"cls.weight", "cls.output.weight"})

    def items(self, key: str, wanted: set[int]) -> dict[int, Any]:
        """The items of an array at these indices; those out of range are left out."""
        array = self.values.get(key)
        if not isinstance(array, Array):
            return {}
        with _mapped(self.path) as data:
            cursor = _Cursor(data, array.place)
            return {i: value for i, value in enumerate(cursor.each(array)) if i in wanted}


def read_header(path: Path) -> Header:
    """The header of the file. Raises `Refusal` if this is no GGUF file or its end is missing."""
    if path.is_dir():
        raise Refusal(BAD_WEIGHTS, f"The weights must be one GGUF file, and this is a directory: {path}.")
    try:
        with _mapped(path) as data:
            return _parse(path, data)
    except (struct.error, IndexError, OverflowError, ValueError):
        raise Refusal(BAD_WEIGHTS, f"The GGUF file is damaged or incomplete: {path}.") from None


def _parse(path: Path, data: mmap.mmap) -> Header:
    if data[:4] != MAGIC:
        raise Refusal(BAD_WEIGHTS, f"This is not a GGUF file: {path}.")
    cursor = _Cursor(data, 4)
    version = cursor.scalar("I")
    if version not in (2, 3):
        raise Refusal(BAD_WEIGHTS, f"GGUF version {version} is not one that can be read (2 or 3): {path}.")
    tensors, pairs = cursor.scalar("Q"), cursor.scalar("Q")
    if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
        raise ValueError("absurd counts")
    values = {cursor.string(): cursor.value(cursor.scalar("I")) for _ in range(pairs)}
    places = dict(cursor.tensor() for _ in range(tensors))
    if places and cursor.place + max(places.values()) >= len(data):
        raise ValueError("tensors beyond the end")
    return Header(path, values, frozenset(places))


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@dataclass(slots=True)
class _Cursor:
    """A reading position."""

    data: mmap.mmap
    place: int

    def scalar(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self.data, self.place)
        self.place += struct.calcsize(f"<{kind}")
        return value

    def string(self) -> str:
        size = self.scalar("Q")
        start, self.place = self.place, self.place + size
        if self.place > len(self.data):
            raise IndexError
        return self.data[start : self.place].decode("utf-8", "surrogateescape")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array()
        return self.scalar(SCALARS[kind]) if kind in SCALARS else _unknown(kind)

    def array(self) -> Array:
        """Step over an array."""
        kind, count = self.scalar("I"), self.scalar("Q")
        array = Array(kind, count, self.place)
        if kind in SCALARS:
            self.place += count * struct.calcsize(f"<{SCALARS[kind]}")
        elif kind == STRING:
            self.skip_strings(count)
        else:
            _unknown(kind)
        return array

    def skip_strings(self, count: int) -> None:
        unpack, data, place = struct.Struct("<Q").unpack_from, self.data, self.place
        for _ in range(count):
            place += 8 + unpack(data, place)[0]
        self.place = place

    def each(self, array: Array) -> Iterator[Any]:
        """The items of an array that begins here."""
        return (self.value(array.kind) for _ in range(array.count))

    def tensor(self) -> tuple[str, int]:
        """A tensor's name and its distance from the start of the data, in bytes."""
        name = self.string()
        dimensions = self.scalar("I")
        self.place += 8 * dimensions + 4  # their sizes, and the type
        return name, self.scalar("Q")


def _unknown(kind: int) -> Any:
    raise ValueError(f"unknown kind {kind}")

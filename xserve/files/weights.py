"""Facts about weights on disk, found without loading them: what is there, and whether it carries a chat template.

Files are read, never mapped: one that is cut short while it is copied must not take the daemon with it.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from xserve.core.desired import Weights

_GGUF_MAGIC = b"GGUF"
_TEMPLATE_KEY = b"tokenizer.chat_template"
# A GGUF string is its length as 64 bits, little endian, and its bytes; keys are strings.
_TEMPLATE_MARK = len(_TEMPLATE_KEY).to_bytes(8, "little") + _TEMPLATE_KEY
# Metadata stands at the front; the largest vocabularies take some tens of megabytes.
_METADATA_BYTES = 64 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
_CONFIG_BYTES = 16 * 1024 * 1024
_CONFIG = "tokenizer_config.json"
_MOST_NAMES = 1000  # of a directory that are looked at
_REMEMBERED = 4096  # answers; a few hundred bytes each

Signature = tuple[int, ...]


class WeightsIndex:
    """Remembers what it found, for as long as what it looked at stays the same. May be asked by several threads."""

    def __init__(self) -> None:
        # An OSError is no answer and not remembered: a permission may be mended without a trace in the signature.
        self._inspect = lru_cache(_REMEMBERED)(_inspect)

    def __call__(self, path: str, model_format: str) -> Weights:
        """Facts about `path` as weights of a format. Raises nothing: trouble is part of the answer."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return Weights("")
        except OSError as error:
            return Weights("", trouble=f"cannot look at {path}: {error.strerror}")
        try:
            return self._inspect(path, model_format, found.st_mode, _signature(path, found))
        except OSError as error:
            return Weights("", trouble=f"cannot read {path}: {error.strerror}")


def _signature(path: str, found: os.stat_result) -> Signature:
    """Of a directory also the file in it that is read: an edit of that leaves no trace in the directory."""
    own = _identity(found)
    if not stat.S_ISDIR(found.st_mode):
        return own
    try:
        return own + _identity(os.stat(os.path.join(path, _CONFIG)))
    except FileNotFoundError:
        return own


def _identity(found: os.stat_result) -> Signature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _inspect(path: str, model_format: str, mode: int, _: Signature) -> Weights:
    if stat.S_ISDIR(mode):
        return _inspect_directory(Path(path), model_format)
    if not stat.S_ISREG(mode):
        return Weights("", trouble=f"{path} is neither a file nor a directory")
    return _inspect_gguf(Path(path)) if model_format == "ggufv2" else Weights("file")


def _inspect_directory(path: Path, model_format: str) -> Weights:
    if model_format == "ggufv2":
        return Weights("directory", trouble=f"{path} is a directory; a ggufv2 model_uri names one .gguf file")
    names = frozenset(islice((item.name for item in path.iterdir()), _MOST_NAMES))
    return Weights("directory", chat_template=_directory_chats(path, names), names=names)


def _directory_chats(path: Path, names: frozenset[str]) -> bool | None:
    if names & {"chat_template.jinja", "chat_template.json"}:
        return True
    if _CONFIG not in names:
        return None
    with (path / _CONFIG).open("rb") as file:
        return b'"chat_template"' in file.read(_CONFIG_BYTES)


def _inspect_gguf(path: Path) -> Weights:
    with path.open("rb") as file:
        if file.read(len(_GGUF_MAGIC)) != _GGUF_MAGIC:
            return Weights("file", trouble=f"{path} is not a GGUF file")
        return Weights("file", chat_template=_holds(file, _TEMPLATE_MARK, _METADATA_BYTES))


def _holds(file: BinaryIO, mark: bytes, limit: int) -> bool:
    """Whether the mark stands in the next `limit` bytes; also where it lies across two blocks."""
    end = b""
    for _ in range(0, limit, _BLOCK_BYTES):
        block = file.read(_BLOCK_BYTES)
        if mark in end + block:
            return True
        if not block:
            return False
        end = block[-len(mark) :]
    return False

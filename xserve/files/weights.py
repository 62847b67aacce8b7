"""Facts about weights on disk, found without loading them: what is there, and whether it carries a chat template."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from xserve.core.desired import Weights

_GGUF_MAGIC = b"GGUF"
_TEMPLATE_KEY = b"tokenizer.chat_template"
# A GGUF string is its length as 64 bits, little endian, and its bytes; keys are strings.
_TEMPLATE_MARK = len(_TEMPLATE_KEY).to_bytes(8, "little") + _TEMPLATE_KEY
# Metadata stands at the front; the largest vocabularies take some tens of megabytes.
_METADATA_BYTES = 64 * 1024 * 1024
_CONFIG_BYTES = 16 * 1024 * 1024


class WeightsIndex:
    """Remembers what it found, for as long as a path's size, time and inode stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[tuple[int, ...], Weights]] = {}

    def __call__(self, path: str, model_format: str) -> Weights:
        """Facts about `path` as weights of a format. Raises nothing: trouble is part of the answer."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return Weights("")
        except OSError as error:
            return Weights("", trouble=f"cannot look at {path}: {error.strerror}")
        signature = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get((path, model_format))
        if known is None or known[0] != signature:
            known = (signature, _inspect(Path(path), found, model_format))
            self._known[path, model_format] = known
        return known[1]


def _inspect(path: Path, found: os.stat_result, model_format: str) -> Weights:
    try:
        if stat.S_ISDIR(found.st_mode):
            return _inspect_directory(path, model_format)
        if not stat.S_ISREG(found.st_mode):
            return Weights("", trouble=f"{path} is neither a file nor a directory")
        return _inspect_gguf(path) if model_format == "ggufv2" else Weights("file")
    except OSError as error:
        return Weights("", trouble=f"cannot read {path}: {error.strerror}")


def _inspect_directory(path: Path, model_format: str) -> Weights:
    if model_format == "ggufv2":
        return Weights("directory", trouble=f"{path} is a directory; a ggufv2 model_uri names one .gguf file")
    if any((path / name).exists() for name in ("chat_template.jinja", "chat_template.json")):
        return Weights("directory", chat_template=True)
    config = path / "tokenizer_config.json"
    if not config.exists():
        return Weights("directory")
    with config.open("rb") as file:
        return Weights("directory", chat_template=b'"chat_template"' in file.read(_CONFIG_BYTES))


def _inspect_gguf(path: Path) -> Weights:
    with path.open("rb") as file:
        if file.read(len(_GGUF_MAGIC)) != _GGUF_MAGIC:
            return Weights("file", trouble=f"{path} is not a GGUF file")
        size = min(os.fstat(file.fileno()).st_size, _METADATA_BYTES)
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as view:
            return Weights("file", chat_template=view.find(_TEMPLATE_MARK) >= 0)

"""Generated images, kept for a while so that a URL can stand for them.

They lie in a private folder, which is made for the first one and goes with the process; limits of bytes, count
and time hold whatever is asked for, and the oldest image makes room for the newest. A name has 128 random bits:
knowing it is the permission to see the image, as clients fetch such URLs without a key.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

_PREFIX = "xserve-images-"  # of the folder
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", ".png", "image/png"),
    (b"\xff\xd8\xff", ".jpg", "image/jpeg"),
    (b"GIF8", ".gif", "image/gif"),
    (b"RIFF", ".webp", "image/webp"),
)
"""First bytes, ending of the name, media type. Anything else is bytes that no browser shows."""
_OTHER = (b"", ".bin", "application/octet-stream")
MEDIA = (*(kind for _, _, kind in _KINDS), _OTHER[2])
"""Media types that an image may have."""


@dataclass(frozen=True, slots=True)
class GalleryLimits:
    """What is kept at most."""

    bytes: int = 512 << 20
    images: int = 2048
    seconds: float = 3600.0


class NoRoomError(Exception):
    """An image could not be kept. The text is a sentence for people."""


class Gallery:
    """All images that are kept. Belongs to one event loop."""

    def __init__(self, limits: GalleryLimits | None = None, parent: Path | None = None) -> None:
        """`parent`: where the folder is made; what an earlier process left there goes. None: among temporary files."""
        self.limits = limits or GalleryLimits()
        self._parent = parent
        self._folder: Path | None = None
        for left in parent.glob(f"{_PREFIX}*") if parent else ():
            shutil.rmtree(left, ignore_errors=True)
        self._sizes: dict[str, int] = {}  # by name, the oldest first

    async def keep(self, image: bytes) -> str:
        """Keep an image; its name. Raises NoRoomError where it is too large, or the disk says no."""
        if len(image) > self.limits.bytes:
            raise NoRoomError(f"An image of {len(image)} bytes is larger than all that is kept.")
        self._make_room(len(image))
        name = token_hex(16) + _kind(image)[1]
        self._sizes[name] = len(image)
        asyncio.get_running_loop().call_later(self.limits.seconds, self._drop, name)
        try:
            await asyncio.to_thread(self._path(name).write_bytes, image)
        except OSError as error:
            self._drop(name)
            raise NoRoomError(f"The image could not be kept: {error.strerror}.") from error
        if name not in self._sizes:  # it had to make room while it was written
            self._path(name).unlink(missing_ok=True)
        return name

    async def find(self, name: str) -> tuple[bytes, str] | None:
        """(image, media type); None where there is none of this name, or no more."""
        if name not in self._sizes:
            return None
        try:
            image = await asyncio.to_thread(self._path(name).read_bytes)
        except OSError:  # dropped a moment ago, or somebody tidied the folder
            return None
        return image, _kind(image)[2]

    def _make_room(self, size: int) -> None:
        limits = self.limits
        while self._sizes and (len(self._sizes) >= limits.images or sum(self._sizes.values()) + size > limits.bytes):
            self._drop(next(iter(self._sizes)))

    def _drop(self, name: str) -> None:
        if self._sizes.pop(name, None) is not None:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / name


def _kind(image: bytes) -> tuple[bytes, str, str]:
    return next((row for row in _KINDS if image.startswith(row[0])), _OTHER)

"""Pictures and sounds of requests: base64 text or a data URL, decoded before a library sees it."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from xserve_engine.flexible import WrongInput

NAMES = {"inputs", "image", "images", "audio", "audios"}  # arguments by which pipelines take pictures and sounds
MOST_PIXELS = 64_000_000  # of a picture: what a small file may unfold to
Decoder = Callable[[bytes], Any]


def replace(args: Sequence[Any], named: Mapping[str, Any], decode: Decoder) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with media in place of text: the first by place, and all by the names above."""
    first = [_decoded(value, decode) for value in args[:1]]
    return [*first, *args[1:]], _members(named, decode)


def _decoded(value: Any, decode: Decoder) -> Any:
    if isinstance(value, str):
        return decode(read(value))
    if isinstance(value, list):
        return [_decoded(item, decode) for item in value]
    return _members(value, decode) if isinstance(value, dict) else value


def _members(members: Mapping[str, Any], decode: Decoder) -> dict[str, Any]:
    return {name: _decoded(value, decode) if name in NAMES else value for name, value in members.items()}


def read(text: str) -> bytes:
    """The bytes of base64 text or of a data URL. Raises `WrongInput` for all else, paths and addresses included."""
    content = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise WrongInput("Send pictures and sounds as base64 text or as a data URL; nothing is fetched.") from None


def picture(data: bytes) -> Any:
    """A picture of Pillow. Raises `WrongInput` for what is none or is too large."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MOST_PIXELS:
            raise WrongInput(f"The picture has more than {MOST_PIXELS} pixels.")
        return image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise WrongInput(f"The picture cannot be read: {error}.") from None


@dataclass(frozen=True, slots=True)
class Sounds:
    """Decodes sounds for a model that listens at `rate` samples per second."""

    rate: int

    def __call__(self, data: bytes) -> Any:
        """One channel of float32 samples. Raises `WrongInput` for what is no sound."""
        import soundfile

        try:
            samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise WrongInput(f"The sound cannot be read: {error}.") from None
        return self._resampled(samples.mean(axis=1), rate)

    def _resampled(self, samples: Any, rate: int) -> Any:
        from scipy.signal import resample_poly

        step = gcd(rate, self.rate)
        return samples if rate == self.rate else resample_poly(samples, self.rate // step, rate // step)

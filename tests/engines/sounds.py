"""Sound for tests: files made of numbers, and the forms that carry them."""

from __future__ import annotations

import io
import random
import re
import wave
from typing import Any

import httpx2

NUMBERS = {
    "nine": "9",
    "ten": "10",
    "eleven": "11",
    "twelve": "12",
    "thirteen": "13",
    "fourteen": "14",
    "fifteen": "15",
}


def wav(samples: bytes, rate: int) -> bytes:
    """A WAV file of 16-bit samples of one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(samples)
    return file.getvalue()


def noise(seconds: int) -> bytes:
    """A WAV file of noise."""
    return wav(random.Random(0).randbytes(2 * 16_000) * seconds, 16_000)


def seconds(file: bytes) -> float:
    """How long a WAV file lasts."""
    with wave.open(io.BytesIO(file)) as sound:
        return sound.getnframes() / sound.getframerate()


def form(file: bytes, **fields: Any) -> tuple[bytes, str]:
    """Body and content type of a form with a file, as `Engine.ask` takes them."""
    files = {"file": ("sound", file)}
    request = httpx2.Request("POST", "http://engine", data={"model": "served", **fields}, files=files)
    return request.read(), request.headers["content-type"]


def words(text: str) -> list[str]:
    """The words of a text without case and marks, numbers as digits: as two listeners might write them."""
    found = re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split()
    return [NUMBERS.get(word, word) for word in found]

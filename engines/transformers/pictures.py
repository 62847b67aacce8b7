"""Pictures in a chat's messages: taken out as they came, leaving a mark that chat templates know.

Only `data:` URLs are read. An engine reaches nothing outside, so a picture behind a link is the client's to fetch.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings
from typing import Any

from PIL import Image
from xserve_engine.wire import HttpError

DATA = re.compile(r"data:image/[\w.+-]+;base64,(.+)", re.DOTALL)
MOST_PIXELS = 64_000_000  # a picture of 8,000 x 8,000; it is scaled down for the model in any case


def take_out(messages: Any) -> tuple[Any, list[Image.Image]]:
    """The messages with marks in place of pictures, and the pictures in their order. What is no list stays as it is."""
    pictures: list[Image.Image] = []
    if not isinstance(messages, list):
        return messages, pictures
    return [_message(message, pictures) for message in messages], pictures


def _message(message: Any, pictures: list[Image.Image]) -> Any:
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return message
    return {**message, "content": [_part(part, pictures) for part in message["content"]]}


def _part(part: Any, pictures: list[Image.Image]) -> Any:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return part
    link = part.get("image_url")
    url = link.get("url") if isinstance(link, dict) else link
    pictures.append(read_picture(str(url)))
    return {"type": "image"}


def read_picture(url: str) -> Image.Image:
    """The picture in a data URL. Raises `HttpError` 400 for a link, and for what is no picture."""
    found = DATA.fullmatch(url)
    if not found:
        raise HttpError(400, "A picture must come as a data: URL with base64 content; links are not followed.")
    try:
        data = base64.b64decode(found[1], validate=True)
        with warnings.catch_warnings(action="ignore"):  # of its size, which is checked below
            picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > MOST_PIXELS:
            raise HttpError(400, f"A picture may have {MOST_PIXELS} pixels, not {picture.width} x {picture.height}.")
        return picture.convert("RGB")
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise HttpError(400, f"A picture cannot be read: {error}") from error

"""Pictures in a chat's messages: taken out as they came, leaving a mark that chat templates know.

Only `data:` URLs are read. An engine reaches nothing outside, so a picture behind a link is the client's to fetch.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from typing import Any

from PIL import Image
from xserve_engine.wire import HttpError

DATA = re.compile(r"data:image/[\w.+-]+;base64,(.+)", re.DOTALL)
MOST_PIXELS = 64_000_000  # of a request: a picture of 8,000 x 8,000, 192 MB; the model sees it scaled down in any case


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
    taken = sum(picture.width * picture.height for picture in pictures)
    pictures.append(read_picture(str(url), MOST_PIXELS - taken))
    return {"type": "image"}


def read_picture(url: str, most: int) -> Image.Image:
    """The picture in a data URL. Raises `HttpError` 400 for a link, no picture, or more pixels than `most`."""
    found = DATA.fullmatch(url)
    if not found:
        raise HttpError(400, "A picture must come as a data: URL with base64 content; links are not followed.")
    try:
        data = base64.b64decode(found[1], validate=True)
        with warnings.catch_warnings(action="ignore"):  # of its size, which is checked below
            picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height <= most:
            return picture.convert("RGB")
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
        raise HttpError(400, f"A picture cannot be read: {error}") from error
    raise HttpError(400, f"The pictures of a request may have {MOST_PIXELS:,} pixels in all; these have more.")

"""Pictures as bytes and as pixels: uploads, masks, sizes, answers.

An upload is opened only as one of a few raster formats, and only after its header has said that it is not too
large, so that a small file cannot unfold into gigabytes.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence

from PIL import Image, ImageOps
from xserve_engine.form import File
from xserve_engine.wire import HttpError

READABLE = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
WRITABLE = {"png": "PNG", "jpeg": "JPEG", "jpg": "JPEG", "webp": "WEBP"}
HALF = 128  # of 255: a mask's pixel from here on is to be repainted

Picture = Image.Image
Size = tuple[int, int]  # width, height in pixels


def read_picture(file: File, most: int) -> Picture:
    """The upload's pixels, upright, RGB or with transparency RGBA. Raises `HttpError` 400.

    `most`: pixels that either side may have.
    """
    name = file.filename or "an upload"
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(file.data), formats=READABLE) as opened:
            warnings.simplefilter("ignore")  # of oddities in metadata
            if max(opened.size) > most:
                width, height = opened.size
                raise HttpError(400, f"The image {name} has {width}x{height} pixels; at most {most} a side are taken.")
            upright = ImageOps.exif_transpose(opened)
            return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except Image.DecompressionBombError:
        raise HttpError(400, f"The image {name} has too many pixels; at most {most} a side are taken.") from None
    except (OSError, ValueError, SyntaxError, EOFError):
        formats = ", ".join(READABLE)
        raise HttpError(400, f"The image {name} cannot be read; it must be a whole file of {formats}.") from None


def encode(picture: Picture, kind: str) -> str:
    """The picture as base64 of a file of this kind."""
    file = io.BytesIO()
    picture.save(file, WRITABLE[kind])
    return base64.b64encode(file.getvalue()).decode()


def on_white(picture: Picture) -> Picture:
    """Without transparency: what shows through is white."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def mask_of(picture: Picture) -> Picture:
    """White where the picture is to be repainted, black where it is kept.

    A mask with transparency says "here" by it; any other mask by white.
    """
    marks = ImageOps.invert(picture.getchannel("A")) if is_transparent(picture) else picture.convert("L")
    return marks.point(lambda value: 255 if value >= HALF else 0)


def is_transparent(picture: Picture) -> bool:
    """Whether any of it shows through."""
    return picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] < HALF


def pad(picture: Picture, multiple: int, fill: str) -> Picture:
    """Made larger at its right and its bottom, to sides that are multiples."""
    width, height = (-(-side // multiple) * multiple for side in picture.size)
    padded = Image.new(picture.mode, (width, height), fill)
    padded.paste(picture)
    return padded


def fit(size: Size, step: int) -> Size:
    """The nearest smaller size whose sides are multiples of `step`, at least one."""
    width, height = (max(side // step, 1) * step for side in size)
    return width, height


def keep_unmasked(drawn: Sequence[Picture], original: Picture, mask: Picture) -> list[Picture]:
    """The drawn pictures where the mask is white, the original's very pixels where it is black."""
    return [Image.composite(picture, original, mask) for picture in drawn]

"""What the fake makes of images, sound and calls: as foreseeable as its words.

An image is one pixel, whose colour is the SHA-256 of all that was asked. It takes as many steps as were asked
for. Speech is a tenth of a second of a tone per word, as WAV or bare samples whatever the format asked for. What
it hears and reads is the number of bytes that it got. A call gives back its arguments.
"""

from __future__ import annotations

import array
import base64
import hashlib
import io
import json
import math
import struct
import time
import wave
import zlib
from collections.abc import Mapping
from typing import Any

from xserve_engine.wire import HttpError, Request

RATE = 16_000  # samples per second
NOTE = 0.1  # seconds of a word
HERTZ = 440.0
END = NOTE  # of the one caption, in seconds


def question(request: Request) -> dict[str, Any]:
    """The request's members: of its JSON, or of its form, where a file is its bytes. `kwargs` of either is opened."""
    body = _form(request) if "multipart/" in request.headers.get("content-type", "") else request.json()
    for name in ("kwargs", "fake"):
        if isinstance(body.get(name), str):
            body[name] = json.loads(body[name])
    return {**body, **(body.get("kwargs") or {})}


def _form(request: Request) -> dict[str, Any]:
    from xserve_engine.form import parse_form  # of a package: not every rehearsal has it, nor uploads

    form = parse_form(request.headers["content-type"], request.body)
    texts = {name: values[0] for name, values in form.fields.items()}
    return texts | {name: files[0].data for name, files in form.files.items()}


def steps(body: Mapping[str, Any]) -> int:
    """How many steps the images take."""
    return int(body.get("num_inference_steps") or 1)


def images(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer with images; each has a colour of its own."""
    asked = [body.get(name) for name in ("prompt", "seed", "image", "image[]", "images", "mask", "mask_image")]
    made = [
        _pixel(hashlib.sha256(repr((asked, index)).encode()).digest()[:3]) for index in range(int(body.get("n", 1)))
    ]
    return {"created": int(time.time()), "data": [{"b64_json": base64.b64encode(image).decode()} for image in made]}


def _pixel(colour: bytes) -> bytes:
    """A PNG of one pixel, from three bytes of red, green and blue."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + colour)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def reading(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer to "what stands there?"."""
    return {"text": f"fake: {len(_file(body, 'image'))} bytes"}


def hearing(body: Mapping[str, Any]) -> tuple[str, str]:
    """(answer, its media type) to "what is said there?", in the format asked for."""
    text = f"fake: {len(_file(body, 'file'))} bytes"
    match body.get("response_format") or "json":
        case "text":
            return text + "\n", "text/plain"
        case "srt":
            return f"1\n00:00:00,000 --> 00:00:00,100\n{text}\n\n", "text/plain"
        case "vtt":
            return f"WEBVTT\n\n00:00.000 --> 00:00.100\n{text}\n\n", "text/plain"
        case "verbose_json":
            segment = {"id": 0, "start": 0.0, "end": END, "text": text}
            full = {"task": "transcribe", "language": "en", "duration": END, "text": text, "segments": [segment]}
            return json.dumps(full), "application/json"
        case _:
            return json.dumps({"text": text}), "application/json"


def speech(body: Mapping[str, Any]) -> tuple[list[bytes], str]:
    """(pieces, media type) of a spoken text: the head of the file, if it has one, and a piece per word."""
    notes = [_note() for _ in str(body.get("input", "")).split()]
    if body.get("response_format") == "pcm":
        return notes, "audio/pcm"
    return [_wav_head(sum(map(len, notes))), *notes], "audio/wav"


def _note() -> bytes:
    turn = math.tau * HERTZ / RATE
    return array.array("h", (int(8000 * math.sin(turn * at)) for at in range(int(RATE * NOTE)))).tobytes()


def _wav_head(size: int) -> bytes:
    """The first bytes of a WAV file with `size` bytes of samples of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(bytes(size))
    return file.getvalue()[:-size] if size else file.getvalue()


def call(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a flexible model was called with."""
    return {
        "args": body.get("args", []),
        "kwargs": {n: v for n, v in body.items() if n not in ("model", "args", "kwargs", "fake")},
    }


def _file(body: Mapping[str, Any], name: str) -> bytes:
    found = body.get(name)
    if not isinstance(found, bytes):
        raise HttpError(400, f"The form must have a file named {name}.")
    return found

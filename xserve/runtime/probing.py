"""The tiny real request that proves a replica ready, as bytes: JSON, or a form with half a second of silence."""

from __future__ import annotations

import json
import struct
from secrets import token_hex

from xserve.core.manifest import Probe

_RATE = 16_000  # samples per second: what speech models listen at
_SAMPLES = _RATE // 2


def compose_probe(probe: Probe, uid: str) -> tuple[str, bytes]:
    """Content type and body of the probe for the served name."""
    body = _fill(probe.body, uid)
    if probe.silence is None:
        return "application/json", json.dumps(body).encode()
    assert isinstance(body, dict)
    return _form(body, probe.silence.field)


def _form(fields: dict[str, object], file: str) -> tuple[str, bytes]:
    boundary = token_hex(16)
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts.append(f'name="{file}"; filename="silence.wav"\r\nContent-Type: audio/wav\r\n\r\n'.encode() + _silence())
    opening = f"--{boundary}\r\nContent-Disposition: form-data; ".encode()
    content = b"".join(opening + part + b"\r\n" for part in parts)
    return f"multipart/form-data; boundary={boundary}", content + f"--{boundary}--\r\n".encode()


def _silence() -> bytes:
    """A WAV file: 16-bit samples of one channel."""
    size = 2 * _SAMPLES
    chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE, 2 * _RATE, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + chunk + struct.pack("<4sI", b"data", size) + bytes(size)


def _fill(value: object, uid: str) -> object:
    """The probe's body with the served name in place of "{uid}"."""
    match value:
        case "{uid}":
            return uid
        case dict():
            return {key: _fill(item, uid) for key, item in value.items()}
        case list() | tuple():
            return [_fill(item, uid) for item in value]
    return value

"""Speech as a file of the format that was asked for, piece by piece as it is made; by PyAV.

A stream's WAV says in its head that its length is unknown. A file that is sent whole has it right.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
import numpy as np

from .sound import Samples

PCM_RATE = 24_000  # what clients of OpenAI's `pcm` play at


@dataclass(frozen=True, slots=True)
class Format:
    """How FFmpeg writes one `response_format`."""

    kind: str  # content type
    container: str
    codec: str
    rates: tuple[int, ...] = ()  # samples per second that the codec takes; (): any
    bit_rate: int = 0  # bits per second of one channel; 0: nothing is lost


MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
FORMATS = {
    "wav": Format("audio/wav", "wav", "pcm_s16le"),
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame", MP3_RATES, 96_000),
    "flac": Format("audio/flac", "flac", "flac"),
    "opus": Format("audio/opus", "ogg", "libopus", (48_000,), 64_000),
    "aac": Format("audio/aac", "adts", "aac", MP3_RATES, 96_000),
    "pcm": Format("audio/pcm", "s16le", "pcm_s16le", (PCM_RATE,)),
}
# No table of contents, which could be written only at the end, and nothing held back.
STREAMED = {"mp3": {"write_xing": "0"}, "ogg": {"page_duration": "100000"}}


class _Pipe:
    """A file that can only be written; what was written is taken out piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class Encoder:
    """Writes one file. `streamed`: `feed` gives what is ready; else `finish` gives all of it."""

    def __init__(self, name: str, rate: int, streamed: bool) -> None:
        form = FORMATS[name]
        self._pipe = _Pipe() if streamed else None
        self._file = io.BytesIO()
        options = {"flush_packets": "1", **STREAMED.get(form.container, {})} if streamed else {}
        target = self._pipe or self._file
        self._container = av.open(target, "w", format=form.container, options=options, buffer_size=4096)
        self._rate = rate
        self._stream = self._container.add_stream(form.codec, rate=_nearest(rate, form.rates), layout="mono")
        if form.bit_rate:
            self._stream.bit_rate = form.bit_rate

    def feed(self, samples: Samples) -> bytes:
        """Add sound; what of the file is ready."""
        whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate
        self._container.mux(self._stream.encode(frame))
        return self._pipe.take() if self._pipe else b""

    def finish(self) -> bytes:
        """The rest of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._pipe.take() if self._pipe else self._file.getvalue()


def _nearest(rate: int, rates: tuple[int, ...]) -> int:
    """The lowest rate that loses nothing, else the highest."""
    return min((one for one in rates if one >= rate), default=max(rates, default=rate)) if rates else rate

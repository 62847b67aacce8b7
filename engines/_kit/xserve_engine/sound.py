"""Sound that clients send, as samples: whatever FFmpeg reads, by PyAV, whose wheels bring FFmpeg along.

Only formats that hold sound themselves are read: a playlist would make FFmpeg open files and addresses that it
names.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

from .wire import HttpError

RATE = 16_000  # samples per second: what speech models listen at
FORMATS = "aac,ac3,aiff,amr,ape,asf,au,caf,eac3,flac,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,webm,wv"
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}

Samples = NDArray[np.float32]  # one channel, from -1 to 1


def decode(data: bytes, most: float) -> Samples:
    """The sound in a file, one channel at `RATE`.

    Raises `HttpError` 400 for what is no sound, is empty, or lasts longer than `most` seconds.
    """
    blocks, length = [], 0
    try:
        for block in _blocks(data):
            blocks.append(block)
            length += len(block)
            if length > most * RATE:
                raise HttpError(400, f"The sound is longer than {most:g} s, which is the most for one request.")
    except av.FFmpegError as error:
        raise HttpError(400, f"The file is no sound that can be read: {error.strerror}.") from None
    if not length:
        raise HttpError(400, "The file holds no sound.")
    return np.concatenate(blocks)


def _blocks(data: bytes) -> Iterator[Samples]:
    """The first track's sound. Raises `av.FFmpegError`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(io.BytesIO(data), options=OPTIONS, metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise HttpError(400, "The file holds no sound.")
        for frame in container.decode(audio=0):
            frame.pts = None  # gaps and jumps of damaged files are none of ours
            yield from (one.to_ndarray()[0] for one in resampler.resample(frame))
        yield from (one.to_ndarray()[0] for one in resampler.resample(None))

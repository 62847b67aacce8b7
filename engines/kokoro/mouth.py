"""The speaker around Kokoro: a folder with the model (`*.onnx`) and its voices (`voices*.npz` or `voices*.bin`)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Generator, Mapping
from pathlib import Path
from typing import Any

from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, NO_BACKEND, Refusal, Start, require_weights
from xserve_engine.sentences import sentences
from xserve_engine.sound import Samples
from xserve_engine.speaking import Script
from xserve_engine.wire import HttpError

# What a voice speaks, by the first letter of its name, where espeak-ng writes it as the model was taught to read it.
LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}


class Mouth:
    """Voices that speak."""

    speeds = (0.5, 2.0)  # Kokoro's own

    def __init__(self, start: Start) -> None:
        """Load. Refuses weights and options that cannot work."""
        weights = require_weights(start)
        self._kokoro = _load(_one(weights, "*.onnx"), _one(weights, "voices*.npz", "voices*.bin"), start.options)
        self._language: str = start.options.get("language", "")
        self._check_language()
        from kokoro_onnx.config import SAMPLE_RATE

        self.rate: int = SAMPLE_RATE
        self.voices: Collection[str] = tuple(self._kokoro.get_voices())
        self.voice: str = start.options.get("voice") or self.voices[0]
        if self.voice not in self.voices:
            raise Refusal(BAD_OPTION, f"There is no voice {self.voice}; there are {', '.join(self.voices)}.")

    def _check_language(self) -> None:
        if not self._language:
            return
        try:
            self._kokoro.tokenizer.phonemize("a", self._language)
        except RuntimeError:
            raise Refusal(BAD_OPTION, f"espeak-ng does not know the language {self._language}.") from None

    def speak(self, script: Script, left: threading.Event) -> Generator[Samples, None, None]:
        """A piece per sentence. Raises `HttpError` 400 for a voice whose language cannot be read."""
        language = self._language or LANGUAGES.get(script.voice[:1])
        if language is None:
            raise HttpError(
                400, f"The language of the voice {script.voice} cannot be read here; the option language names another."
            )
        for sentence in sentences(script.text):
            if self._kokoro.tokenizer.phonemize(sentence, language):
                samples, _ = self._kokoro.create(sentence, script.voice, script.speed, language)
                yield samples


def _one(folder: Path, *patterns: str) -> Path:
    """The only file of a folder that matches. Refuses none and several."""
    found = sorted(file for pattern in patterns for file in folder.glob(pattern))
    if len(found) != 1:
        wanted = " or ".join(patterns)
        raise Refusal(BAD_WEIGHTS, f"There must be one file {wanted} in the folder {folder}, not {len(found)}.")
    return found[0]


def _load(model: Path, voices: Path, options: Mapping[str, Any]) -> Any:
    try:
        from kokoro_onnx import Kokoro
        from xserve_engine.sessions import load
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"kokoro-onnx cannot be used by {sys.executable}: {error}.") from None
    session = load(model, options)
    try:
        return Kokoro.from_session(session, str(voices))
    except (OSError, ValueError, LookupError) as error:
        raise Refusal(BAD_WEIGHTS, f"The voices cannot be read: {voices}: {error}.") from None

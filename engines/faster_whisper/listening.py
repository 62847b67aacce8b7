"""The listener around faster-whisper's model."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Generator
from typing import Any

from settings import Settings
from xserve_engine.hearing import Wish
from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, NO_BACKEND, Refusal
from xserve_engine.sound import Samples
from xserve_engine.transcript import Segment, Word, whole_words

# What Whisper tries one after the other where a window comes out improbable or repetitive; OpenAI's own ladder.
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class Ear:
    """A Whisper model that hears."""

    def __init__(self, settings: Settings) -> None:
        """Load. Refuses weights and options that cannot work."""
        self._model = _load(settings)
        self._arguments = settings.transcribing
        self.languages: Collection[str] = frozenset(self._model.supported_languages)

    def detect(self, sound: Samples) -> str:
        """The most probable language of the first 30 seconds."""
        language, _, _ = self._model.detect_language(sound)
        return str(language)

    def hear(self, sound: Samples, wish: Wish, left: threading.Event) -> Generator[Segment, None, None]:
        """The segments, each as soon as its window is done."""
        segments, _ = self._model.transcribe(
            sound,
            language=wish.language,
            task=wish.task,
            initial_prompt=wish.prompt or None,
            temperature=wish.temperature or TEMPERATURES,
            word_timestamps=wish.words,
            **self._arguments,
        )
        length = len(sound) / self._model.feature_extractor.sampling_rate
        for segment in segments:
            yield _translate(segment, length, wish.language)


def _translate(found: Any, length: float, language: str) -> Segment:
    """The library's segment as ours. A window is 30 s wide, so an end may lie behind the sound's."""

    def time(given: float) -> float:
        return round(min(float(given), length), 3)

    return Segment(
        start=time(found.start),
        end=time(found.end),
        text=found.text,
        tokens=found.tokens,
        seek=found.seek,
        temperature=found.temperature or 0.0,
        avg_logprob=found.avg_logprob,
        compression_ratio=found.compression_ratio,
        no_speech_prob=found.no_speech_prob,
        words=whole_words((Word(one.word, time(one.start), time(one.end)) for one in found.words or ()), language),
    )


def _load(settings: Settings) -> Any:
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"faster-whisper cannot be used by {sys.executable}: {error}.") from None
    try:
        return WhisperModel(str(settings.weights), local_files_only=True, **settings.loading)
    except ValueError as error:  # a compute type or device that is not there
        raise Refusal(BAD_OPTION, f"faster-whisper cannot load the model so: {error}.") from None
    except RuntimeError as error:
        raise Refusal(BAD_WEIGHTS, f"The weights cannot be loaded: {error}.") from None

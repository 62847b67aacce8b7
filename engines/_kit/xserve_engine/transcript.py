"""What was heard, as each `response_format` of a transcription has it. Times are seconds from the file's start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from babel import Locale, UnknownLocaleError

KINDS = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
UNSPACED = ("zh", "yue", "ja", "th", "lo", "my")  # languages without spaces between words


@dataclass(frozen=True, slots=True)
class Word:
    """One word and when it was said."""

    word: str
    start: float
    end: float


def whole_words(parts: Iterable[Word], language: str) -> list[Word]:
    """Words out of what a library takes for words, each with the space before it: "o'clock" comes in two parts.

    Where the language has spaces, they alone decide.
    """
    found: list[Word] = []
    for part in parts:
        if found and language not in UNSPACED and not part.word.startswith(" "):
            before = found.pop()
            found.append(Word(before.word + part.word, before.start, part.end))
        else:
            found.append(Word(part.word.strip(), part.start, part.end))
    return found


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, as Whisper cuts it."""

    start: float
    end: float
    text: str  # with the space before it
    tokens: Sequence[int]
    seek: int  # hundredths of a second: where the window began in which it was heard
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: Sequence[Word] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that was heard in one file."""

    task: str  # transcribe | translate
    language: str  # code of the language that was spoken
    duration: float
    segments: Sequence[Segment]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


def render(transcript: Transcript, form: str, granularities: Sequence[str] = ()) -> dict[str, Any] | str:
    """The transcript in a format of `KINDS`: an object for the JSON ones, else text."""
    if form == "text":
        return f"{transcript.text}\n"
    if form == "srt":
        cues = _cues(transcript.segments, ",")
        return "".join(f"{number}\n{cue}\n" for number, cue in enumerate(cues, 1))
    if form == "vtt":
        return "WEBVTT\n\n" + "".join(f"{cue}\n" for cue in _cues(transcript.segments, "."))
    usage = {"type": "duration", "seconds": math.ceil(transcript.duration)}
    if form == "json":
        return {"text": transcript.text, "usage": usage}
    return {**_verbose(transcript, granularities), "usage": usage}


def _verbose(transcript: Transcript, granularities: Sequence[str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": transcript.task,
        "language": language_name(transcript.language),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    if "word" in granularities:
        words = [word for segment in transcript.segments for word in segment.words]
        answer["words"] = [{"word": one.word, "start": one.start, "end": one.end} for one in words]
    if "segment" in granularities or not granularities:
        answer["segments"] = [_member(number, segment) for number, segment in enumerate(transcript.segments)]
    return answer


def _member(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": segment.seek,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _cues(segments: Sequence[Segment], point: str) -> list[str]:
    """One cue per segment; a line of its own ends each. An arrow within the text would be read as times."""
    return [
        f"{_clock(one.start, point)} --> {_clock(one.end, point)}\n{one.text.strip().replace('-->', '->')}\n"
        for one in segments
    ]


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and thousandths."""
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def language_name(code: str) -> str:
    """The language's English name in lower case, as OpenAI has it; the code itself where it has no known name."""
    try:
        name = Locale.parse(code).get_language_name("en")
    except (UnknownLocaleError, ValueError):
        return code
    return name.lower() if name else code

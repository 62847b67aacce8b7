"""Speech to text over HTTP: `/v1/audio/transcriptions` and `/v1/audio/translations`, for any listener.

The sound is decoded beside the model's thread, so that a long file holds up nobody. A stream sends each segment as
`transcript.text.delta` when it is heard.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .form import Form, parse_form
from .host import Work
from .sound import RATE, Samples, decode
from .transcript import KINDS, Segment, Transcript, render
from .wire import Handler, HttpError, Reply, Request

GRANULARITIES = ("segment", "word")
MOST_SECONDS = 7200  # of one request's sound, unless an option says otherwise: 460 MB in memory


@dataclass(frozen=True, slots=True)
class Wish:
    """How a client wants to be heard."""

    task: str  # transcribe | translate
    language: str  # code of what is spoken; "": find out
    prompt: str  # text that goes before
    temperature: float  # 0: the most likely words
    words: bool  # whether the times of words are wanted


class Listener(Protocol):
    """A model that hears. Its methods run in the model's thread."""

    languages: Collection[str]  # codes that it knows; one alone: it can neither find out nor translate

    def detect(self, sound: Samples) -> str:
        """The code of the language that is spoken."""
        ...

    def hear(self, sound: Samples, wish: Wish, left: threading.Event) -> Generator[Segment, None, None]:
        """The segments in their order. Ends early, anyhow, once `left` is set."""
        ...


class Hearing:
    """The handlers around a listener."""

    def __init__(self, listener: Listener, work: Work, most: float, language: str = "") -> None:
        self.listener = listener
        self.work = work
        self.most = most  # seconds of one request's sound
        self.language = language  # of requests that name none; "": found out

    def routes(self) -> Mapping[str, Handler]:
        """A handler per path."""
        return {"/v1/audio/transcriptions": self.transcribe, "/v1/audio/translations": self.translate}

    async def transcribe(self, request: Request, reply: Reply) -> None:
        """Write down what was said."""
        await self._answer(request, reply, "transcribe")

    async def translate(self, request: Request, reply: Reply) -> None:
        """Write down in English what was said. Raises `HttpError` 400 for a model of one language."""
        if len(self.listener.languages) == 1:
            raise HttpError(400, f"This model knows only {next(iter(self.listener.languages))}: it cannot translate.")
        await self._answer(request, reply, "translate")

    async def _answer(self, request: Request, reply: Reply, task: str) -> None:
        form = parse_form(request.headers.get("content-type", ""), request.body)
        wish, shape, granularities = self._wish(form, task), _shape(form), _granularities(form)
        sound = await asyncio.to_thread(decode, form.file("file").data, self.most)
        streamed = form.first("stream").lower() in ("true", "1")
        segments, language = [], wish.language
        async with self.work.steps(lambda left: self._hear(sound, wish, left)) as heard:
            async for item in heard:
                if isinstance(item, str):
                    language = item
                    continue
                segments.append(item)
                if streamed:
                    await reply.event({"type": "transcript.text.delta", "delta": item.text})
        transcript = Transcript(task, language, len(sound) / RATE, segments)
        if streamed:
            await reply.event({"type": "transcript.text.done", "text": transcript.text})
            await reply.event("[DONE]")
        else:
            await _send(reply, render(transcript, shape, granularities), KINDS[shape])

    def _hear(self, sound: Samples, wish: Wish, left: threading.Event) -> Generator[str | Segment, None, None]:
        """The language, then the segments."""
        if not wish.language:
            wish = Wish(wish.task, self.listener.detect(sound), wish.prompt, wish.temperature, wish.words)
        yield wish.language
        yield from self.listener.hear(sound, wish, left)

    def _wish(self, form: Form, task: str) -> Wish:
        known = self.listener.languages
        language = form.first("language").lower() or self.language
        if language and language not in known:
            raise HttpError(400, f"This model does not know the language {language!r}; it knows {_some(known)}.")
        if not language and len(known) == 1:
            language = next(iter(known))
        temperature = form.number("temperature", 0)
        if not 0 <= temperature <= 1:
            raise HttpError(400, f"The temperature must be from 0 to 1, not {temperature:g}.")
        return Wish(task, language, form.first("prompt"), temperature, "word" in _granularities(form))


def _some(known: Collection[str]) -> str:
    return ", ".join(sorted(known)[:100])


def _shape(form: Form) -> str:
    """The `response_format`. Raises `HttpError` 400 for one that is none."""
    shape = form.first("response_format") or "json"
    if shape not in KINDS:
        raise HttpError(400, f"There is no response_format {shape!r}; there are {', '.join(KINDS)}.")
    return shape


def _granularities(form: Form) -> list[str]:
    """What is to be timed; OpenAI's clients write the field with brackets. Raises `HttpError` 400."""
    given = [*form.fields.get("timestamp_granularities[]", ()), *form.fields.get("timestamp_granularities", ())]
    found = [one for one in given if one]
    for one in found:
        if one not in GRANULARITIES:
            raise HttpError(400, f"There is no timestamp granularity {one!r}; there are {', '.join(GRANULARITIES)}.")
    return found


async def _send(reply: Reply, answer: dict[str, Any] | str, kind: str) -> None:
    if isinstance(answer, str):
        await reply.send(answer.encode(), kind)
    else:
        await reply.json(answer)

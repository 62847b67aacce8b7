"""Text to speech over HTTP: `/v1/audio/speech`, for any speaker.

A stream begins with the first sentence that is spoken. `stream: true` asks for it in Xinference's clients,
`stream_format: audio` in OpenAI's; `stream_format: sse` sends the same as events, in base64.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .encoding import FORMATS, Encoder
from .form import Form, is_form, parse_form
from .host import Work
from .sound import Samples
from .wire import Handler, HttpError, Reply, Request

MOST_TEXT = 4096  # characters of one request, as OpenAI has it, unless an option says otherwise
SLOWEST, FASTEST = 0.25, 4.0  # of `speed`, as OpenAI has it


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be said, and how."""

    text: str
    voice: str
    speed: float  # 1: as the voice speaks by itself; 2: twice as fast


class Speaker(Protocol):
    """A model that speaks. Its methods run in the model's thread."""

    rate: int  # samples per second
    voices: Collection[str]  # the names of its voices; one alone: requests need not name it
    speeds: tuple[float, float]  # slowest and fastest

    def speak(self, script: Script, left: threading.Event) -> Generator[Samples, None, None]:
        """The speech piece by piece; may end early once `left` is set. Raises `HttpError` 400 for what it cannot."""
        ...


class Speaking:
    """The handler around a speaker."""

    def __init__(self, speaker: Speaker, work: Work, most: int, voice: str) -> None:
        self.speaker = speaker
        self.work = work
        self.most = most  # characters of one request
        self.voice = voice  # of requests that name none

    def routes(self) -> Mapping[str, Handler]:
        """A handler per path."""
        return {"/v1/audio/speech": self.speak}

    async def speak(self, request: Request, reply: Reply) -> None:
        """Say the input."""
        body = _body(request)
        script, name = self._script(body), _format(body)
        sent_as = str(body.get("stream_format") or "")
        streamed = _true(body.get("stream")) or bool(sent_as)
        if sent_as not in ("", "audio", "sse"):
            raise HttpError(400, f"There is no stream_format {sent_as!r}; there are audio and sse.")
        encoder = Encoder(name, self.speaker.rate, streamed)
        send = _Events(reply) if sent_as == "sse" else _Bytes(reply, FORMATS[name].kind, streamed)
        spoken = 0
        async with self.work.steps(lambda left: self.speaker.speak(script, left)) as pieces:
            async for samples in pieces:
                spoken += len(samples)
                await send.piece(encoder.feed(samples))
        if not spoken:
            raise HttpError(400, "There is nothing in the input that can be said.")
        await send.piece(encoder.finish())
        await send.end()

    def _script(self, body: Mapping[str, Any]) -> Script:
        text, speed = body.get("input"), _number(body, "speed", 1.0)
        if not isinstance(text, str) or not text.strip():
            raise HttpError(400, "The input must be a text that is not empty.")
        if len(text) > self.most:
            raise HttpError(400, f"The input has {len(text)} characters; a request may have {self.most}.")
        slowest, fastest = self.speaker.speeds
        if not slowest <= speed <= fastest:
            raise HttpError(400, f"This model speaks at a speed from {slowest:g} to {fastest:g}, not {speed:g}.")
        return Script(text.strip(), self._voice(body.get("voice")), speed)

    def _voice(self, wanted: object) -> str:
        """The voice of a request: a name, or an object with `id`. A model of one voice speaks with it, come what may.

        Raises `HttpError` 400 for a name that is none.
        """
        name = wanted.get("id") if isinstance(wanted, Mapping) else wanted
        voices = self.speaker.voices
        if not name or (len(voices) == 1 and name not in voices):
            return self.voice
        if not isinstance(name, str) or name not in voices:
            raise HttpError(400, f"There is no voice {name!r}; there are {', '.join(sorted(voices))}.")
        return name


class _Bytes:
    """The file itself: whole, or as it grows."""

    def __init__(self, reply: Reply, kind: str, streamed: bool) -> None:
        self._reply, self._kind, self._streamed = reply, kind, streamed

    async def piece(self, data: bytes) -> None:
        if not data:  # an empty chunk would end the answer
            return
        if self._streamed:
            await self._reply.write(data, self._kind)
        else:
            await self._reply.send(data, self._kind)

    async def end(self) -> None:
        """Nothing: the file's end is the answer's."""


class _Events:
    """The file in server-sent events."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def piece(self, data: bytes) -> None:
        if data:
            await self._reply.event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})

    async def end(self) -> None:
        await self._reply.event({"type": "speech.audio.done"})
        await self._reply.event("[DONE]")


def _body(request: Request) -> Mapping[str, Any]:
    """The request's members: JSON, or the fields of a form. Raises `HttpError` 400, also for a voice to be cloned."""
    kind = request.headers.get("content-type", "")
    if not is_form(kind):
        return request.json()
    form = parse_form(kind, request.body)
    for name in ("prompt_speech", "prompt_latent"):
        if form.files.get(name):
            raise HttpError(400, f"This model cannot imitate the voice of {name}.")
    return _members(form)


def _members(form: Form) -> dict[str, Any]:
    """Fields as their clients write them: numbers and truths as text."""
    found: dict[str, Any] = {name: values[0] for name, values in form.fields.items()}
    with contextlib.suppress(ValueError):
        found["speed"] = json.loads(found.get("speed", "1"))
    return found


def _true(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "1")


def _format(body: Mapping[str, Any]) -> str:
    """The `response_format`. Raises `HttpError` 400 for one that is none."""
    name = body.get("response_format") or "mp3"
    if name not in FORMATS:
        raise HttpError(400, f"There is no response_format {name!r}; there are {', '.join(FORMATS)}.")
    return str(name)


def _number(body: Mapping[str, Any], name: str, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise HttpError(400, f"The {name} must be a number.")
    return float(value)

"""An engine without a model, for tests: it answers like one, and misbehaves on demand.

`GET /fake/state` tells what it saw: requests started, finished, aborted (the client went away) and in
flight, and the path of the last one. `GET /fake/body` gives the bytes of the last body, as they came.
`POST /fake/options` changes its behaviour while it runs; see `behaviour` for the names.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import answers
import faults
import media
from behaviour import Behaviour, change
from xserve_engine.launch import Refusal, Start, require_weights
from xserve_engine.wire import HttpError, Reply, Request, serve

TYPES = {
    "/v1/chat/completions": "LLM",
    "/v1/completions": "LLM",
    "/v1/embeddings": "embedding",
    "/v1/rerank": "rerank",
    "/v1/images/generations": "image",
    "/v1/images/variations": "image",
    "/v1/images/edits": "image",
    "/v1/images/inpainting": "image",
    "/v1/images/ocr": "image",
    "/v1/audio/transcriptions": "audio",
    "/v1/audio/translations": "audio",
    "/v1/audio/speech": "audio",
    "/v1/flexible/infers": "flexible",
}
COUNTS = ("started", "finished", "aborted", "in_flight")


def run(start: Start) -> None:
    """Serve until SIGTERM. Refuses options that it does not know and weights that are not there."""
    behaviour = change(Behaviour(), start.options)
    if start.weights:
        require_weights(start)
    faults.commit(behaviour)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Fake(start, behaviour).live())


class Fake:
    """The engine: its behaviour, its counts, and a handler per path."""

    def __init__(self, start: Start, behaviour: Behaviour) -> None:
        self.start = start
        self.behaviour = behaviour
        self.counts = dict.fromkeys(COUNTS, 0)
        self.last = Request("", "", {}, b"")
        self.loaded = False
        self.shares: dict[str, float] = {}  # of images under way, how much is done, by the request's id
        self.places = asyncio.Semaphore(behaviour.concurrency or 1_000_000)

    async def live(self) -> None:
        """Listen, load, serve; return at SIGTERM."""
        ended = asyncio.Event()
        if not self.behaviour.ignore_sigterm:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        server = await serve(self.start.socket, self.handle)
        load = asyncio.create_task(self.load())
        print(f"fake: serving {self.start.uid} on {self.start.socket}", flush=True)
        await ended.wait()
        load.cancel()
        server.close()

    async def load(self) -> None:
        """Take as long as told."""
        await asyncio.sleep(self.behaviour.load)
        self.loaded = not self.behaviour.never_ready

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        if request.path == "/health":
            await self.health(reply)
        elif request.path == "/metrics":
            await reply.send(answers.metrics(self.counts, COUNTS), "text/plain; version=0.0.4")
        elif request.path == "/progress":
            await reply.json({"progress": self.shares.get(request.query.get("request_id", ""), 0.0)})
        elif request.path.startswith("/fake/"):
            await self.inspect(request, reply)
        else:
            await self.work(request, reply)

    async def health(self, reply: Reply) -> None:
        """200 once loaded, or whatever was asked for."""
        if self.behaviour.health == "hang":
            await asyncio.Event().wait()
        if not self.loaded:
            raise HttpError(503, "The model is loading.", "unavailable_error")
        if self.behaviour.health == "error":
            raise HttpError(500, "Unwell, as told.", "server_error")
        await reply.json({"status": "ok"})

    async def inspect(self, request: Request, reply: Reply) -> None:
        """The paths below `/fake/`."""
        match request.method, request.path:
            case "GET", "/fake/state":
                await reply.json({**self.counts, "last_path": self.last.path})
            case "GET", "/fake/body":
                await reply.send(self.last.body, "application/octet-stream")
            case "POST", "/fake/options":
                self.behaviour = _changed(self.behaviour, request.json())
                await reply.json({})
            case _:
                raise HttpError(404, f"There is no {request.method} {request.path}.")

    async def work(self, request: Request, reply: Reply) -> None:
        """A request for the model."""
        kind = TYPES.get(request.path)
        if kind != self.start.model_type:
            raise HttpError(404, f"This model is a {self.start.model_type}; it does not answer {request.path}.")
        self.last = request
        body = media.question(request)
        behaviour = _changed(self.behaviour, body.get("fake") or {})
        async with self.counting(), self.places:
            await self.infer(request, body, behaviour, reply)
        if self.behaviour.crash_after >= 0 and self.counts["finished"] >= self.behaviour.crash_after:
            faults.crash("after enough requests")

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Count the request's start and its end, whichever way it ends."""
        self.counts["started"] += 1
        self.counts["in_flight"] += 1
        try:
            yield
        except (asyncio.CancelledError, ConnectionError):
            self.counts["aborted"] += 1
            raise
        else:
            self.counts["finished"] += 1
        finally:
            self.counts["in_flight"] -= 1

    async def infer(self, request: Request, body: dict[str, Any], behaviour: Behaviour, reply: Reply) -> None:
        """Answer, at the pace and with the faults of `behaviour`."""
        if behaviour.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(behaviour.first_token)
        if behaviour.status != 200:
            raise HttpError(behaviour.status, "Failed, as told.", "server_error")
        if self.start.model_type == "LLM":
            answer = answers.complete(body, self.start.definition, behaviour.tokens)
            await self.generate(body, behaviour, answer, reply)
        elif request.path == "/v1/audio/speech":
            await self.speak(body, behaviour, reply)
        else:
            if self.start.model_type == "image":
                await self.take_steps(request.headers.get("x-request-id", ""), body, behaviour)
            await self.answer(request.path, body, reply)

    async def answer(self, path: str, body: dict[str, Any], reply: Reply) -> None:
        """Answer what is answered at once and whole."""
        uid = self.start.uid
        match path.split("/")[2:]:
            case ["embeddings"]:
                await reply.json(answers.embeddings(uid, body, self.start.definition))
            case ["rerank"]:
                await reply.json(answers.rerank(uid, body))
            case ["flexible", _]:
                await reply.json(media.call(body))
            case ["images", "ocr"]:
                await reply.json(media.reading(body))
            case ["images", _]:
                await reply.json(media.images(body))
            case _:
                text, kind = media.hearing(body)
                await reply.send(text.encode(), kind)

    async def take_steps(self, request_id: str, body: dict[str, Any], behaviour: Behaviour) -> None:
        """The work of an image; each step but the first takes its time."""
        count = media.steps(body)
        try:
            for step in range(count):
                self.shares[request_id] = step / count
                await asyncio.sleep(behaviour.token_interval if step else 0)
        finally:
            self.shares.pop(request_id, None)

    async def speak(self, body: dict[str, Any], behaviour: Behaviour, reply: Reply) -> None:
        """A text as sound, a word at a time; the head of the file is sent before the first."""
        pieces, kind = media.speech(body)
        for count, piece in enumerate(pieces):
            if count == behaviour.crash_at:
                faults.crash("in the middle of a sentence")
            await asyncio.sleep(behaviour.token_interval if count else 0)
            await reply.write(piece, kind)

    async def generate(
        self,
        body: dict[str, Any],
        behaviour: Behaviour,
        answer: answers.Completion,
        reply: Reply,
    ) -> None:
        """A chat or a completion, as a stream or whole."""
        chat, uid = "messages" in body, self.start.uid
        stream = bool(body.get("stream"))
        for count, word in enumerate(answer.words):
            if count == behaviour.crash_at:
                faults.crash("in the middle of an answer")
            await asyncio.sleep(behaviour.token_interval if count else 0)
            if stream:
                await reply.event(answers.chunk(uid, chat, word))
                if behaviour.bad_stream and count == 1:
                    await _spoil(behaviour.bad_stream, reply)
        if not stream:
            await reply.json((answers.chat_answer if chat else answers.text_answer)(uid, answer))
            return
        await reply.event(answers.chunk(uid, chat, None, answer.finish))
        if (body.get("stream_options") or {}).get("include_usage"):
            await reply.event(answers.usage_chunk(uid, chat, answer))
        await reply.event("[DONE]")


def _changed(behaviour: Behaviour, options: dict[str, Any]) -> Behaviour:
    try:
        return change(behaviour, options)
    except Refusal as refusal:
        raise HttpError(400, refusal.sentence) from None


async def _spoil(how: str, reply: Reply) -> None:
    """Break the stream in the way that `bad_stream` names, and cut the connection."""
    broken = {
        "head": b"HTTP/1.1 200 OK\r\n",  # a second head in the middle of a body
        "chunk": b"zz\r\nnot a chunk\r\n",
        "json": b"f\r\ndata: {broken\n\n\r\n0\r\n\r\n",
        "cut": b"",
    }
    reply.writer.write(broken[how])
    await reply.writer.drain()
    raise ConnectionError(how)

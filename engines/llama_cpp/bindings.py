"""The backend llama-cpp-python: llama.cpp's library through its Python bindings.

The bindings run one request at a time, so requests wait for the one thread that owns the model. They have no
way to stop a running answer from outside; every token passes through `generate`, however, and that is where
a departed client's answer ends, and where the definition's stop token ids are put into force.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llama_cpp
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from settings import POOLINGS, Settings
from xserve_engine.launch import NO_BACKEND, Refusal
from xserve_engine.wire import HttpError, Reply, Request
from xserve_engine.wire import serve as listen

UNSUPPORTED = ("mmproj", "lora", "enable_thinking", "chat_template_kwargs")
# What a request may say beside its messages or prompt; other members have no counterpart in the bindings.
SAMPLING = frozenset(
    (
        *("temperature", "top_p", "top_k", "min_p", "typical_p"),
        *("frequency_penalty", "presence_penalty", "repeat_penalty"),
        *("seed", "stop", "max_tokens", "logit_bias"),
    )
)
CHAT = SAMPLING | {"messages", "tools", "tool_choice", "response_format"}
TEXT = SAMPLING | {"prompt", "suffix", "echo"}


class Departed(Exception):
    """The client is gone; nobody wants the rest."""


def serve(settings: Settings) -> None:
    """Serve until a signal ends the process. Refuses what the bindings cannot do."""
    if settings.model_type == "rerank":
        raise Refusal(NO_BACKEND, "llama-cpp-python cannot rank; xllamacpp and llama-server can.")
    for name in UNSUPPORTED:
        if settings.options[name] not in (None, (), {}):
            raise Refusal(NO_BACKEND, f"llama-cpp-python does not serve the option {name}; xllamacpp does.")
    if settings.lora:
        raise Refusal(NO_BACKEND, "llama-cpp-python does not serve LoRA adapters; xllamacpp does.")
    asyncio.run(_live(settings))


async def _live(settings: Settings) -> None:
    with ThreadPoolExecutor(1, "model") as thread:
        loop = asyncio.get_running_loop()
        model = await loop.run_in_executor(thread, Model, settings)
        await (await listen(settings.socket, Api(settings, model, thread).handle)).serve_forever()


class Model(llama_cpp.Llama):  # type: ignore[misc]
    """The library's model, with answers that can be ended from outside."""

    def __init__(self, settings: Settings) -> None:
        options = settings.options
        pooled = settings.model_type == "embedding"
        pooling = POOLINGS.index(settings.pooling) if settings.pooling else -1
        super().__init__(
            model_path=str(settings.weights),
            n_ctx=settings.context,
            n_batch=settings.batch,
            n_ubatch=settings.ubatch,
            n_threads=settings.threads,
            n_threads_batch=settings.threads,
            n_gpu_layers=options["n_gpu_layers"],
            main_gpu=options["main_gpu"],
            rope_freq_base=options["rope_freq_base"],
            rope_freq_scale=options["rope_freq_scale"],
            flash_attn=options["flash_attn"] == "on",
            type_k=getattr(llama_cpp, f"GGML_TYPE_{options['cache_type_k'].upper()}", None),
            type_v=getattr(llama_cpp, f"GGML_TYPE_{options['cache_type_v'].upper()}", None),
            embedding=pooled,
            pooling_type=pooling,
            verbose=False,
        )
        self.ends = frozenset(settings.stops.ids)
        self.departed = threading.Event()
        self.usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}  # of the last answer
        if settings.template:
            self.chat_handler = self._handler(settings.template)

    def generate(self, tokens: Any, *args: Any, **kwargs: Any) -> Iterator[int]:
        """The library's tokens, ended by the stop token ids and by the client's departure."""
        for count, token in enumerate(super().generate(tokens, *args, **kwargs), 1):
            if self.departed.is_set():
                raise Departed
            prompt = len(tokens)
            self.usage = {
                "prompt_tokens": prompt,
                "completion_tokens": count,
                "total_tokens": prompt + count,
            }
            yield self.token_eos() if token in self.ends else token

    def _handler(self, template: str) -> Any:
        vocabulary = self._model
        names = [vocabulary.token_get_text(token) for token in (self.token_eos(), self.token_bos())]
        formatter = Jinja2ChatFormatter(
            template=template, eos_token=names[0], bos_token=names[1], stop_token_ids=[self.token_eos()]
        )
        return formatter.to_chat_handler()


class Api:
    """The paths that the model answers."""

    def __init__(self, settings: Settings, model: Model, thread: ThreadPoolExecutor) -> None:
        self.settings = settings
        self.model = model
        self.thread = thread
        self.waiting = 0  # requests under way, those that wait for the thread included

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        match request.path, self.settings.model_type:
            case "/health", _:
                await reply.json({"status": "ok"})
            case "/metrics", _:
                gauge = "llamacpp:requests_processing"
                text = f"# TYPE {gauge} gauge\n{gauge} {self.waiting}\n"
                await reply.send(text.encode(), "text/plain; version=0.0.4")
            case "/v1/embeddings", "embedding":
                await self.embed(request.json(), reply)
            case "/v1/chat/completions", "LLM":
                await self.generate(self.model.create_chat_completion, CHAT, request.json(), reply)
            case "/v1/completions", "LLM":
                await self.generate(self.model.create_completion, TEXT, request.json(), reply)
            case path, kind:
                raise HttpError(404, f"This model is a {kind}; it does not answer {path}.")

    async def embed(self, body: dict[str, Any], reply: Reply) -> None:
        """Embed a text or a list of texts."""
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts:
            raise HttpError(400, "The input must be a text or a list of texts.")
        normalize = self.settings.options["normalize"]

        def work() -> Any:
            return [self.model.embed(texts, normalize=normalize, return_count=True)]

        async with contextlib.aclosing(self.on_thread(work)) as answers:
            async for vectors, tokens in answers:
                await reply.json(_embeddings(self.settings.uid, vectors, tokens))

    async def generate(
        self, create: Callable[..., Any], members: frozenset[str], body: dict[str, Any], reply: Reply
    ) -> None:
        """Answer a chat or a completion, as a stream or whole."""
        asked = {name: value for name, value in body.items() if name in members and value is not None}
        asked["stop"] = asked.get("stop") or list(self.settings.stops.strings)
        asked["max_tokens"] = body.get("max_completion_tokens") or body.get("max_tokens") or -1
        stream = bool(body.get("stream"))
        usage: dict[str, int] = {}

        def work() -> Iterator[Any]:
            answer = create(**asked, stream=stream)
            yield from answer if stream else [answer]
            usage.update(self.model.usage)  # here, on the model's thread: the next request counts anew

        last: dict[str, Any] = {}
        async with contextlib.aclosing(self.on_thread(work)) as pieces:
            async for piece in pieces:
                last = {**piece, "model": self.settings.uid}
                await (reply.event(last) if stream else reply.json(last))
        if stream:
            if (body.get("stream_options") or {}).get("include_usage"):
                await reply.event({**last, "choices": [], "usage": usage})
            await reply.event("[DONE]")

    async def on_thread(self, work: Callable[[], Any]) -> AsyncGenerator[Any, None]:
        """What `work` yields on the model's thread. Leaving the loop early ends the work."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Any]()
        departed = threading.Event()

        def run() -> None:
            if departed.is_set():
                return
            self.model.departed = departed
            try:
                for piece in work():
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except ValueError as error:  # what the library says of a request that it cannot serve
                raise HttpError(400, str(error)) from error
            except Departed:
                pass

        done = loop.run_in_executor(self.thread, run)
        done.add_done_callback(lambda _: pieces.put_nowait(None))
        self.waiting += 1
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await done
        finally:
            departed.set()
            self.waiting -= 1


def _embeddings(uid: str, vectors: list[list[float]], tokens: int) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": uid, "data": data, "usage": usage}

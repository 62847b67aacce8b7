"""The HTTP side: every request becomes one answer per choice, all of them made side by side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from answers import ChatChoice, Frame, usage
from batching import Batcher, Token
from fields import Body
from gates import Gates
from loading import Model, load
from planning import Plan, Planner
from questions import read_question
from sampling import Row, Sampling
from settings import Settings
from sizes import batching_config
from viewing import Viewer
from xserve_engine.wire import HttpError, Reply, Request, serve

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
WARMTH = 4  # tokens made before health answers: the first calls of a library are slow

Emit = Callable[[list[dict[str, Any]]], Awaitable[None]]


async def live(settings: Settings) -> None:
    """Load, warm up, and answer until a signal ends the process."""
    model = load(settings)
    config = batching_config(settings, model)
    gates = Gates(model.network, settings.adapters) if settings.adapters else None
    batcher = Batcher(model.network, config)
    batcher.rows.watcher = gates
    api = Api(settings, model, batcher)
    await api.warm_up()
    server = await serve(settings.socket, api.handle)
    print(
        f"Serving {settings.uid} on {model.network.device} in {model.network.dtype}: {model.length} tokens a request, "
        f"{config.num_blocks or 'as many as fit'} blocks of {config.page_size}, "
        f"{config.max_batch_tokens or 'as many as fit'} tokens a step.",
        flush=True,
    )
    await asyncio.gather(server.serve_forever(), batcher.until_it_ends())


class Api:
    """A handler per path."""

    def __init__(self, settings: Settings, model: Model, batcher: Batcher) -> None:
        self.uid = settings.uid
        self.batcher = batcher
        self.viewer = Viewer(model.network, batcher)
        self.planner = Planner(settings, model)

    async def warm_up(self) -> None:
        """Make a few tokens, so that the first request is as fast as the others."""
        row = Row([next(iter(self.planner.model.ends), 0)] * 2, Sampling(), self.planner.model.network.device)
        async for _ in self.batcher.answer(row, WARMTH, ()):
            pass

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        match request.method, request.path:
            case "GET", "/health":
                await reply.json({"status": "ok"})
            case "GET", "/metrics":
                await reply.send(self.metrics().encode(), "text/plain; version=0.0.4")
            case "POST", "/v1/chat/completions" | "/v1/completions":
                await self.generate(request.json(), request.path == CHAT, reply)
            case _:
                raise HttpError(404, f"There is no {request.method} {request.path}; this is an LLM.")

    def metrics(self) -> str:
        """Prometheus text."""
        running, waiting = self.batcher.counts()
        looking = self.viewer.running
        figures = (
            ("requests_running", "gauge", running + looking),
            ("requests_waiting", "gauge", waiting),
            ("generated_tokens_total", "counter", self.batcher.made + self.viewer.made),
        )
        return "".join(
            f"# TYPE transformers_{name} {kind}\ntransformers_{name} {value}\n" for name, kind, value in figures
        )

    async def generate(self, body: Body, chat: bool, reply: Reply) -> None:
        """A chat or a completion, as a stream or whole."""
        question = read_question(body, chat, self.planner.defaults)
        plans = await (self.planner.of_chat(body, question) if chat else self.planner.of_texts(body, question))
        prompt = sum(len(plan.row.prompt) for plan in plans) // question.choices
        frame = Frame(question.adapter or self.uid, chat)
        if not question.stream:
            made = await self.carry_out(plans, _nowhere)
            return await reply.json(frame.whole([plan.choice.whole() for plan in plans], usage(prompt, made)))

        async def emit(entries: list[dict[str, Any]]) -> None:
            for entry in entries:
                await reply.event(frame.piece([entry]))

        made = await self.carry_out(plans, emit)
        if question.usage:
            await reply.event(frame.piece([], usage(prompt, made)))
        return await reply.event("[DONE]")

    async def carry_out(self, plans: list[Plan], emit: Emit) -> int:
        """Make all answers side by side; how many tokens were made."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.speak(plan, emit)) for plan in plans]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return sum(task.result() for task in tasks)

    async def speak(self, plan: Plan, emit: Emit) -> int:
        """Make one answer, and tell it as it comes; how many tokens were made."""
        choice, words, made, finish = plan.choice, plan.words, 0, "length"
        if isinstance(choice, ChatChoice):
            await emit([choice.open()])
        async with contextlib.aclosing(self.make(plan)) as tokens:
            async for token in tokens:
                made += 1
                if token.last and token.id in plan.ends:
                    finish = "stop"
                    break
                if said := words.feed(token):
                    await emit(choice.add(said))
                if words.stopped:
                    finish = "stop"
                    break
        await emit(choice.close(words.finish(), finish))
        return made

    def make(self, plan: Plan) -> AsyncGenerator[Token, None]:
        """The tokens of an answer, from the batch if there are no pictures."""
        if plan.inputs is None:
            return self.batcher.answer(plan.row, plan.limit, plan.ends)
        return self.viewer.answer(plan.row, plan.inputs, plan.limit, plan.ends)


async def _nowhere(_: list[dict[str, Any]]) -> None:
    """An answer that is not streamed is kept by its choice."""

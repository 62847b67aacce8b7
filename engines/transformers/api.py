"""The HTTP side: every request becomes one answer per choice, all of them made side by side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from answers import ChatChoice, Choice, Frame, TextChoice, usage
from batching import Batcher, Token
from chats import Chats, Talk
from fields import Body, flag
from gates import Gates
from grammar import compile_schema
from loading import Model, load
from pictures import take_out
from questions import Defaults, Question, read_prompts, read_question
from sampling import Constraint, Later, Row, Sampling
from settings import Settings
from sizes import batching_config
from viewing import Viewer
from words import Words
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
    batcher.rows.watcher = gates.set if gates else None
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


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer that is to be made."""

    choice: Choice
    row: Row
    words: Words
    limit: int
    ends: frozenset[int]
    inputs: Mapping[str, Any] | None  # of a prompt with pictures


class Api:
    """A handler per path."""

    def __init__(self, settings: Settings, model: Model, batcher: Batcher) -> None:
        self.uid = settings.uid
        self.model = model
        self.batcher = batcher
        self.viewer = Viewer(model.network, batcher)
        self.chats = Chats(settings, model.tokenizer)
        self.defaults = find_defaults(settings, model)

    async def warm_up(self) -> None:
        """Make a few tokens, so that the first request is as fast as the others."""
        row = Row([next(iter(self.model.ends), 0)] * 2, Sampling(), self.model.network.device)
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
        question = read_question(body, chat, self.defaults)
        plans = await (self.plan_chat(body, question) if chat else self.plan_texts(body, question))
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

    async def plan_chat(self, body: Body, question: Question) -> list[Plan]:
        """The answers of a chat."""
        messages, pictures = take_out(body.get("messages"))
        if pictures and self.model.processor is None:
            raise HttpError(400, "This model sees no pictures: its definition does not have the ability vision.")
        talk = await asyncio.to_thread(self.chats.read, {**body, "messages": messages})
        inputs = await asyncio.to_thread(self.model.look, talk.prompt, pictures) if pictures else None
        prompt = inputs["input_ids"][0].tolist() if inputs else await self.encode(talk.prompt, special=False)
        skip = flag(body, "skip_special_tokens", not (talk.tools or talk.tags))
        return [
            self.plan(
                ChatChoice(index, self.chats.voice(talk), self.model.tokenizer, question.sampling.logprobs is not None),
                prompt,
                question,
                Words(self.model.tokenizer, (), question.stops, skip),
                index,
                await self.constrain(question, talk),
                inputs,
            )
            for index in range(question.choices)
        ]

    async def plan_texts(self, body: Body, question: Question) -> list[Plan]:
        """The answers of a completion: `n` of each prompt."""
        skip = flag(body, "skip_special_tokens", True)
        plans: list[Plan] = []
        for given in read_prompts(body, self.model.vocabulary):
            prompt = given if isinstance(given, list) else await self.encode(given, special=True)
            for number in range(question.choices):
                choice = TextChoice(len(plans), self.model.tokenizer, question.sampling.logprobs is not None)
                words = Words(self.model.tokenizer, prompt, question.stops, skip)
                constraint = await self.constrain(question, None)
                plans.append(self.plan(choice, prompt, question, words, number, constraint))
        return plans

    def plan(
        self,
        choice: Choice,
        prompt: list[int],
        question: Question,
        words: Words,
        number: int,
        constraint: Constraint | None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Plan:
        """One answer; `number`: its place among those of its prompt, which all draw differently."""
        room = self.model.length - len(prompt)
        if not prompt:
            raise HttpError(400, "The prompt is empty.")
        if room < 1:
            raise HttpError(400, f"The prompt has {len(prompt)} tokens; a request may use {self.model.length}.")
        row = Row(prompt, question.sampling.of_choice(number), self.model.network.device, constraint, question.adapter)
        ends = question.ends | self.defaults.ends if constraint else question.ends
        return Plan(choice, row, words, min(question.limit or room, room), ends, inputs)

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

    async def encode(self, text: str, special: bool) -> list[int]:
        """The tokens of a text; `special`: with those that begin every text of this model."""
        ids = await asyncio.to_thread(self.model.tokenizer.encode, text, add_special_tokens=special)
        return list(ids)

    async def constrain(self, question: Question, talk: Talk | None) -> Constraint | None:
        """What the answer is held to: the demanded calls, else the schema. Thoughts that are open come before it."""
        schema = talk.demanded if talk and talk.demanded else question.schema
        if schema is None:
            return None
        tokenizer = self.model.tokenizer
        try:
            constraint = await asyncio.to_thread(compile_schema, schema or None, tokenizer, self.model.vocabulary)
        except ValueError as error:
            raise HttpError(400, str(error)) from error
        if talk is None or not talk.thinks or talk.tags is None:
            return constraint
        end = talk.tags[1].strip()
        return Later(constraint, lambda tokens: end in tokenizer.decode(tokens[-len(end) - 8 :]))


def find_defaults(settings: Settings, model: Model) -> Defaults:
    """What holds where a request says nothing: the definition's word, the options', that of the weights."""
    given = model.network.generation_config
    sampling = Sampling(
        temperature=_or(given.temperature, 1.0),
        top_p=_or(given.top_p, 1.0),
        top_k=_or(given.top_k, 0),
        min_p=_or(given.min_p, 0.0),
        repetition=_or(given.repetition_penalty, 1.0),
        seed=settings.options["seed"],
    )
    stop = settings.definition.get("stop") or ()
    return Defaults(
        sampling=sampling,
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        stop_ids=frozenset(settings.definition.get("stop_token_ids") or ()),
        ends=model.ends,
        vocabulary=model.vocabulary,
        adapters=frozenset(settings.adapters),
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


async def _nowhere(_: list[dict[str, Any]]) -> None:
    """An answer that is not streamed is kept by its choice."""

"""From a request's body to the answers that are to be made: each with its prompt, its sampling and its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from answers import ChatChoice, Choice, TextChoice
from chats import Chats, Talk
from fields import Body, flag
from grammar import compile_schema
from loading import Model
from pictures import take_out
from questions import Defaults, Question, read_prompts
from sampling import Constraint, Later, Row, Sampling
from settings import Settings
from words import Words
from xserve_engine.wire import HttpError


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer that is to be made."""

    choice: Choice
    row: Row
    words: Words
    limit: int
    ends: frozenset[int]
    inputs: Mapping[str, Any] | None  # of a prompt with pictures


class Planner:
    """Plans the answers of requests."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.model = model
        self.chats = Chats(settings, model.tokenizer)
        self.defaults = find_defaults(settings, model)

    async def of_chat(self, body: Body, question: Question) -> list[Plan]:
        """The answers of a chat."""
        messages, pictures = await asyncio.to_thread(take_out, body.get("messages"))
        if pictures and self.model.processor is None:
            raise HttpError(400, "This model sees no pictures: its definition does not have the ability vision.")
        talk = await asyncio.to_thread(self.chats.read, {**body, "messages": messages})
        inputs = await asyncio.to_thread(self.model.look, talk.prompt, pictures) if pictures else None
        prompt = inputs["input_ids"][0].tolist() if inputs else await self.encode(talk.prompt, special=False)
        skip = flag(body, "skip_special_tokens", True) and not talk.marked
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

    async def of_texts(self, body: Body, question: Question) -> list[Plan]:
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
        if room < (question.limit or 1):
            asked = f" and asks for {question.limit} more" if question.limit else ", which leaves none for an answer"
            raise HttpError(
                400, f"The prompt has {len(prompt)} tokens{asked}; a request may use {self.model.length} in all."
            )
        row = Row(prompt, question.sampling.of_choice(number), self.model.network.device, constraint, question.adapter)
        ends = question.ends | self.defaults.ends if constraint else question.ends
        return Plan(choice, row, words, question.limit or room, ends, inputs)

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

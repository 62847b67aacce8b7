"""How the next token of one request is chosen, independently of the requests that are decoded beside it.

The steps are the library's own logits processors, in the order in which `generate` applies them: penalties and
biases first, then the grammar, then temperature, top-k, top-p and min-p. The penalties for presence and frequency
are OpenAI's (they count the answer's tokens, not the prompt's); the library has none. Every request draws from a
generator of its own, so that a seed gives the same answer whatever else is decoded at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


class Constraint(Protocol):
    """A grammar's state for one answer."""

    def mask(self, row: Tensor) -> None:
        """Forbid, in place, what the grammar does not allow next."""

    def accept(self, token_id: int) -> None:
        """Move on by the token that was chosen."""


class Later:
    """A constraint that begins once `begun` says so of the tokens so far: thoughts come before what is asked for."""

    def __init__(self, constraint: Constraint, begun: Callable[[list[int]], bool]) -> None:
        self._constraint, self._begun = constraint, begun
        self._before: list[int] = []
        self._awake = False

    def mask(self, row: Tensor) -> None:
        """Forbid nothing before the beginning."""
        if self._awake:
            self._constraint.mask(row)

    def accept(self, token_id: int) -> None:
        """Move on, or find that now is the beginning."""
        if self._awake:
            self._constraint.accept(token_id)
        else:
            self._before.append(token_id)
            self._awake = self._begun(self._before)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a request wants its tokens chosen. The defaults change nothing."""

    temperature: float = 1.0  # 0: the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    bias: Mapping[int, float] = field(default_factory=dict)  # added to the logits of these tokens
    seed: int | None = None
    logprobs: int | None = None  # None: none; else how many of the likeliest are told beside the chosen one

    def of_choice(self, number: int) -> Sampling:
        """That of the choice with this number: each one draws from a seed of its own."""
        return self if self.seed is None else replace(self, seed=self.seed + number)

    @property
    def plain(self) -> bool:
        """Whether the choice is the likeliest token and nothing else."""
        penalised = self.presence or self.frequency or self.repetition != 1
        return not (self.temperature or penalised or self.bias or self.logprobs is not None)


@dataclass(frozen=True, slots=True)
class Odds:
    """The log-probability of a token, and of the likeliest in its place, as the model gave them."""

    chosen: float
    likeliest: tuple[tuple[int, float], ...]


class Row:
    """One answer that is being made. Used by the model's thread alone once it is under way, save for reading."""

    def __init__(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        device: Any,
        constraint: Constraint | None = None,
        adapter: str | None = None,
    ) -> None:
        self.prompt = list(prompt)
        self.sampling = sampling
        self.constraint = constraint
        self.adapter = adapter  # name of a LoRA adapter; None: the model as it is
        self.tokens: list[int] = []  # chosen so far
        self.odds: list[Odds] = []  # as many, if they are wanted
        self.error: Exception | None = None
        self._steps, self._warpers = _steps(sampling)
        self._generator = torch.Generator(device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is taken as it is."""
        return self.sampling.plain and self.constraint is None

    def choose(self, scores: Tensor) -> int:
        """The next token for these logits (one dimension, the vocabulary). Remembers it."""
        steered = self._steer(scores.clone())
        token = self._draw(steered) if self.sampling.temperature else int(steered.argmax())
        if self.sampling.logprobs is not None:
            self.odds.append(weigh(scores, token, self.sampling.logprobs))
        if self.constraint is not None:
            self.constraint.accept(token)
        self.tokens.append(token)
        return token

    def _steer(self, scores: Tensor) -> Tensor:
        sampling = self.sampling
        if self._steps:
            history = torch.tensor([self.prompt + self.tokens], device=scores.device)
            scores = self._steps(history, scores.unsqueeze(0)).squeeze(0)
        if self.tokens and (sampling.presence or sampling.frequency):
            ids, counts = torch.tensor(self.tokens, device=scores.device).unique(return_counts=True)
            scores[ids] -= sampling.presence + sampling.frequency * counts
        for token, value in sampling.bias.items():
            scores[token] += value
        if self.constraint is not None:
            self.constraint.mask(scores)
        return scores

    def _draw(self, scores: Tensor) -> int:
        scores = self._warpers(None, scores.unsqueeze(0)).squeeze(0)
        return int(torch.multinomial(scores.softmax(-1), 1, generator=self._generator))


def _steps(sampling: Sampling) -> tuple[LogitsProcessorList, LogitsProcessorList]:
    """The library's processors for what this request asks for: before the grammar, and after it."""
    steps, warpers = LogitsProcessorList(), LogitsProcessorList()
    if sampling.repetition != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(sampling.repetition))
    if sampling.temperature not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    return steps, warpers


def weigh(scores: Tensor, token: int, most: int) -> Odds:
    """The odds of `token` and of the `most` likeliest tokens under these logits."""
    logs = scores.log_softmax(-1)
    values, ids = logs.topk(most)
    return Odds(float(logs[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))

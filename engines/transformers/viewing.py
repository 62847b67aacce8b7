"""Answers about pictures: one at a time, by the library's `generate`, taking turns with the batch.

The library's continuous batching takes tokens alone. A request with pictures therefore has the model to itself for
one token, the batch for its next step, and so on: neither waits for the other's end. The batch is paused by its own
manager. Tokens are chosen by the same `Row` as in the batch, through the hooks that `generate` has.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import torch
from batching import Batcher, Token
from sampling import Row
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria


class Viewer:
    """Answers about pictures. To be used on the event loop."""

    def __init__(self, network: Any, batcher: Batcher) -> None:
        self.running = 0  # answers, waiting ones included
        self.made = 0  # tokens
        self._network, self._batcher = network, batcher
        self._turn = asyncio.Lock()

    async def answer(
        self, row: Row, inputs: Mapping[str, Any], limit: int, ends: frozenset[int]
    ) -> AsyncGenerator[Token, None]:
        """The tokens of an answer, at most `limit`, one of `ends` being the last. Closing it ends the work.

        `inputs`: what the processor made of the prompt and its pictures.
        """
        self.running += 1
        left, tokens = threading.Event(), asyncio.Queue[int | None]()
        try:
            async with self._turn:
                work = self._begin(row, {**inputs, "generation_config": _settings(limit, ends)}, left, tokens)
                try:
                    seen = 0
                    while (token := await tokens.get()) is not None:
                        yield Token(token, row.odds[seen] if row.odds else None, last=token in ends)
                        seen += 1
                        self.made += 1
                    await work
                finally:
                    left.set()
                    await asyncio.shield(_ended(work))
        finally:
            self.running -= 1

    def _begin(
        self, row: Row, given: dict[str, Any], left: threading.Event, tokens: asyncio.Queue[int | None]
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()

        def tell(token: int | None) -> None:
            loop.call_soon_threadsafe(tokens.put_nowait, token)

        def run() -> None:
            try:
                with contextlib.ExitStack() as turn, torch.no_grad():
                    hooks = Hooks(row, tell, lambda: self._take(turn, row))
                    self._take(turn, row)
                    self._network.generate(**given, logits_processor=[hooks], stopping_criteria=[Left(left)])
            finally:
                tell(None)

        return loop.run_in_executor(None, run)

    def _take(self, turn: contextlib.ExitStack, row: Row) -> None:
        """Let the batch have its step, then have the model again, with the adapter of this row."""
        turn.close()
        turn.enter_context(self._batcher.manager.pause())
        if self._batcher.rows.watcher:
            self._batcher.rows.watcher.admit(row)


def _settings(limit: int, ends: frozenset[int]) -> GenerationConfig:
    return GenerationConfig(do_sample=False, max_new_tokens=limit, eos_token_id=sorted(ends) or None, pad_token_id=0)


async def _ended(work: asyncio.Future[None]) -> None:
    """Wait until the model is free again, whatever the work ended with."""
    await asyncio.wait([work])


class Hooks(LogitsProcessor):  # type: ignore[misc]
    """Chooses the token, tells it, and lets the batch take its step."""

    def __init__(self, row: Row, tell: Callable[[int], object], yield_turn: Callable[[], object]) -> None:
        self._row, self._tell, self._yield_turn = row, tell, yield_turn

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        token = self._row.choose(scores[0])
        scores[0, token] = torch.inf
        self._tell(token)
        self._yield_turn()
        return scores


class Left(StoppingCriteria):  # type: ignore[misc]
    """Ends the work once nobody wants the rest."""

    def __init__(self, left: threading.Event) -> None:
        self._left = left

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), self._left.is_set(), device=input_ids.device)

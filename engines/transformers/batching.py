"""Many requests decoded together, by the library's own continuous batching.

The library's manager owns a thread that runs one step after another: it fills a batch with the next token of every
request under way and with pieces of new prompts, over one paged cache. Three seams are used, all of them the
manager's own parts replaced by subclasses:

* `Rows` stands for its list of logits processors. The library can vary only temperature, top-k and top-p between
  requests, and draws all of them from one generator. `Rows` is told which request each row of logits belongs to,
  lets the request choose its token, and lifts that token's logit to infinity, so that the manager's argmax takes it.
* `Outbox` stands for its router of outputs. It hands each step's outputs to the event loop at once, and drops what
  belongs to nobody any more; the library's would keep that for ever.
* CUDA graphs and asynchronous batches are off: choosing a token needs its logits on the host's side.
"""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from sampling import Odds, Row
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.logits_process import LogitsProcessorList
from xserve_engine.wire import HttpError


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer."""

    id: int
    odds: Odds | None
    last: bool


class Watcher(Protocol):
    """Is told, before the model computes anything, for whom it does."""

    def set(self, batch: list[tuple[Row | None, int]]) -> None:
        """A batch: whose tokens it holds, and how many of each, in order."""

    def admit(self, row: Row) -> None:
        """This one alone."""


class Rows(ContinuousBatchingLogitsProcessorList):  # type: ignore[misc]
    """Lets every request of a batch choose its own token."""

    def __init__(self) -> None:
        super().__init__(LogitsProcessorList())
        self.do_processing = True
        self.under_way: dict[str, Row] = {}
        self.watcher: Watcher | None = None
        self._batch: list[Row | None] = []

    def prepare_tensor_args(self, requests_in_batch: list[Any], arg_storage: Tensor) -> Tensor:
        """Note whose logits the coming step will give, in order."""
        self._batch = [self.under_way.get(one.state.request_id) for one in requests_in_batch if one.has_new_token]
        if self.watcher:
            self.watcher.set(
                [(self.under_way.get(one.state.request_id), one.query_length) for one in requests_in_batch]
            )
        return arg_storage

    def __call__(self, input_ids: Tensor, scores: Tensor, logits_processor_args: Tensor) -> Tensor:
        """Make the chosen token of each row the likeliest. Scores: [rows, vocabulary]."""
        for row, logits in zip(self._batch, scores, strict=False):  # rows past the batch's are padding
            if row is not None and not row.plain:
                logits[_choose(row, logits)] = torch.inf
        return scores


def _choose(row: Row, logits: Tensor) -> int:
    """The row's token; a row that fails spoils only its own answer, since the batch is everybody's."""
    try:
        return row.choose(logits)
    except Exception as error:
        traceback.print_exc()
        row.error = error
        return 0


class Outbox(OutputRouter):  # type: ignore[misc]
    """Hands outputs to those who wait for them on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.waiting: dict[str, asyncio.Queue[Any]] = {}
        self._loop = loop

    def deliver(self, output: Any) -> None:
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[Any]) -> None:
        self._loop.call_soon_threadsafe(self._hand_out, outputs)

    def _hand_out(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            if (queue := self.waiting.get(output.request_id)) is not None:
                queue.put_nowait(output)


class Batcher:
    """Answers under way. To be made and used on the event loop."""

    def __init__(self, network: Any, config: ContinuousBatchingConfig) -> None:
        greedy = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)
        self.manager = network.init_continuous_batching(greedy, config)
        self.rows = self.manager.logit_processor = Rows()
        self.outbox = self.manager.output_router = Outbox(asyncio.get_running_loop())
        self.made = 0  # tokens, since the start
        self._device = network.device
        self._names = map(str, itertools.count())
        self.manager.start()

    async def until_it_ends(self) -> None:
        """Wait for the end of the model's thread, which never ends unless something broke."""
        await asyncio.to_thread(self.manager._generation_thread.join)
        raise RuntimeError(f"The model's thread ended: {self.manager.background_thread_status.fatal_error}.")

    async def answer(self, row: Row, limit: int, ends: Iterable[int]) -> AsyncGenerator[Token, None]:
        """The tokens of an answer, at most `limit`, one of `ends` being the last. Closing it ends the work."""
        name = next(self._names)
        outputs = self.outbox.waiting[name] = asyncio.Queue()
        self.rows.under_way[name] = row
        finished = False
        try:
            if self.manager.add_request(row.prompt, name, limit, streaming=True, eos_token_id=list(ends)) is None:
                raise HttpError(503, "The engine is ending.", "unavailable_error")
            seen = 0
            while not finished:
                output = await outputs.get()
                finished = output.is_finished()
                for token in _fresh(output, row, seen):
                    self.made += 1
                    yield token
                seen = len(output.generated_tokens)
        finally:
            if not finished:
                self.manager.cancel_request(name)
            del self.outbox.waiting[name], self.rows.under_way[name]

    def counts(self) -> tuple[int, int]:
        """How many answers are being made, and how many wait for their first step."""
        processor = self.manager.batch_processor
        if processor is None:
            return 0, 0
        scheduler = processor.scheduler
        return len(scheduler.active_requests), len(scheduler.waiting_requests) + self.manager.input_queue.qsize()


def _fresh(output: Any, row: Row, seen: int) -> list[Token]:
    """The tokens of an output beyond the `seen` first. Raises what went wrong in the model's thread."""
    if output.error or row.error:
        raise HttpError(500, f"The answer failed: {output.error or row.error}", "server_error")
    tokens = output.generated_tokens
    return [
        Token(
            tokens[index],
            row.odds[index] if row.odds else None,
            last=output.is_finished() and index == len(tokens) - 1,
        )
        for index in range(seen, len(tokens))
    ]

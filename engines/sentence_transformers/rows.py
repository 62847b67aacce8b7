"""Texts as rows of tokens: read one request at a time, computed together with those of others.

The library tokenises, so prompts, special tokens and pairs are what the model was trained with; but it is told not
to pad, and each row is kept by itself. A batch of rows is padded only when it is computed. So the length of every
input is known before it costs anything, and what is too long is refused and not silently cut.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from sentence_transformers.util import batch_to_device
from xserve_engine.wire import HttpError

Shared = tuple[tuple[str, Hashable], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One input, ready for the model."""

    columns: Mapping[str, list[int]]  # input_ids, attention_mask and what else the model takes, all of one length
    shared: Shared  # what holds for a whole batch; only rows that share it may be computed together

    @property
    def tokens(self) -> int:
        """Its length."""
        return len(self.columns["input_ids"])


def read(model: Any, inputs: Sequence[Any], truncate: bool, prompt: str | None = None) -> list[Row]:
    """The rows of texts, or of pairs of texts, each behind the prompt. The model's own limit holds if they are cut."""
    handling = {"text": {"padding": False, "truncation": truncate}, "common": {"return_tensors": None}}
    features = model.preprocess(list(inputs), prompt=prompt or None, processing_kwargs=handling)
    columns = {name: value for name, value in features.items() if isinstance(value, list)}
    shared = tuple(sorted((name, value) for name, value in features.items() if name not in columns))
    return [Row({name: column[place] for name, column in columns.items()}, shared) for place in range(len(inputs))]


def given(tokens: Sequence[int], like: Row) -> Row:
    """A row of tokens that the client made, with the columns of another row."""
    fillings = {"input_ids": list(tokens), "attention_mask": [1] * len(tokens)}
    return Row({name: fillings.get(name, [0] * len(tokens)) for name in like.columns}, like.shared)


def check_lengths(rows: Sequence[Row], limit: int) -> None:
    """Refuse rows that the model cannot take. Raises `HttpError` 400."""
    for place, row in enumerate(rows):
        if row.tokens > limit:
            raise HttpError(
                400,
                f"Input {place} has {row.tokens} tokens, and this model takes {limit}. Shorten it, or say "
                '"truncate": true to have it cut.',
            )


@torch.inference_mode()
def compute(model: Any, rows: Sequence[Row], output: str) -> numpy.ndarray[Any, numpy.dtype[numpy.float32]]:
    """What the model makes of the rows, of shape (rows, numbers); `output` is the library's name of it."""
    padded = model.tokenizer.pad([dict(row.columns) for row in rows], padding=True, return_tensors="pt")
    features = batch_to_device({**padded, **dict(rows[0].shared)}, model.device)
    found: torch.Tensor = model(features)[output]
    return found.float().cpu().numpy()

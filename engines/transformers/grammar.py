"""Answers held to a JSON schema, token by token.

llguidance works out which tokens may come next; all others lose their chance before the next one is drawn. It was
taken because it honours a schema or says what it cannot honour, and ignores nothing; it is MIT, alive, and a wheel
without requirements. A mask for a vocabulary of 50,000 tokens takes well under a millisecond.

Space between the parts of the JSON is limited: a weak model that may write any amount of it writes nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import llguidance.hf
import numpy
import torch
from llguidance import LLMatcher, LLTokenizer

OBJECT = {"type": "object"}
LAYOUT = {"whitespace_flexible": True, "whitespace_pattern": r"[ ]|\n[ ]{0,16}"}


class Constraint:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    @property
    def done(self) -> bool:
        """Whether the answer is whole and nothing can follow it."""
        return bool(self._matcher.is_stopped())

    def mask(self, row: torch.Tensor) -> None:
        """Take every chance from the tokens that may not come next. `row`: one row of logits, changed in place."""
        bits = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        allowed = numpy.unpackbits(bits, count=row.shape[-1], bitorder="little").view(bool)
        row.masked_fill_(torch.from_numpy(~allowed).to(row.device), float("-inf"))

    def accept(self, token: int) -> None:
        """Go on by one token that was drawn. Raises ValueError for one that the mask had excluded."""
        if not self._matcher.consume_token(token):
            raise ValueError(f"Token {token} does not fit the schema: {self._matcher.get_error()}")


def compile_schema(schema: Mapping[str, Any] | None, tokenizer: Any, vocab_size: int) -> Constraint:
    """The constraint of this JSON schema; of any JSON object where it is None.

    `vocab_size` is that of the logits. Raises ValueError, in a sentence, for a schema that cannot be honoured.
    """
    grammar = LLMatcher.grammar_from_json_schema(dict(OBJECT if schema is None else schema), defaults=LAYOUT)
    matcher = LLMatcher(_vocabulary(tokenizer, vocab_size), grammar, log_level=0)
    if matcher.is_error():
        raise ValueError(f"The JSON schema cannot be honoured: {_reason(matcher)}.")
    return Constraint(matcher)


@functools.lru_cache(maxsize=2)
def _vocabulary(tokenizer: Any, vocab_size: int) -> LLTokenizer:
    """The tokenizer as the library reads it, which takes it up to a second."""
    return llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab_size)


def _reason(matcher: LLMatcher) -> str:
    """The library's words, in one line and cut where they become the whole grammar."""
    return " ".join(str(matcher.get_error()).split())[:300].rstrip(".")

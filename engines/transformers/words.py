"""From tokens to text that may be shown.

A character can be spread over several tokens, and a stop string over many; both are held back until it is clear
what they become, so that nothing is shown that a later token takes back. What is shown comes with the tokens that
are shown whole by it, for the sake of log-probabilities: those of a stop string are never told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batching import Token
from tokenizers.decoders import DecodeStream

CONTEXT = 8  # tokens before the answer that decide how it begins: some tokenizers drop a text's first space


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of an answer, and the tokens that it completes."""

    text: str = ""
    tokens: tuple[Token, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.tokens)


class Words:
    """One answer's text, as it comes."""

    def __init__(self, tokenizer: Any, before: Sequence[int], stops: Sequence[str], skip_special: bool) -> None:
        """`before`: tokens that the answer goes on from; `skip_special`: leave control tokens out of the text."""
        self.stopped = False
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._stream = DecodeStream(skip_special_tokens=skip_special)
        for token in before[-CONTEXT:]:
            self._stream.step(self._backend, token)
        self._skip_special = skip_special
        self._stops = stops
        self._held = ""  # text that may be the beginning of a stop string
        self._parts: list[tuple[list[Token], int]] = []  # tokens not told yet, with how much of their text is not shown
        self._dangling: list[Token] = []  # tokens that are no whole character yet

    def feed(self, token: Token) -> Said:
        """What may be shown now that this token has come. Sets `stopped` at a stop string."""
        self._dangling.append(token)
        if piece := self._stream.step(self._backend, token.id):
            self._settle(piece)
        place = min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=-1)
        if place >= 0:
            self.stopped = True
            return self._show(place)
        return self._show(len(self._held) - self._suspect())

    def finish(self) -> Said:
        """What was held back, now that no more tokens come; nothing after a stop string."""
        if self.stopped:
            return Said()
        ids = [token.id for token in self._dangling]
        self._settle(self._tokenizer.decode(ids, skip_special_tokens=self._skip_special))
        return self._show(len(self._held))

    def _settle(self, text: str) -> None:
        """Take `text` for what the dangling tokens say together."""
        self._parts.append((self._dangling, len(text)))
        self._dangling = []
        self._held += text

    def _suspect(self) -> int:
        """Length of the longest end of the held text that could become a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0

    def _show(self, size: int) -> Said:
        text, self._held = self._held[:size], self._held[size:]
        told: list[Token] = []
        while self._parts and self._parts[0][1] <= size:
            tokens, length = self._parts.pop(0)
            size -= length
            told += tokens
        if self._parts:
            tokens, length = self._parts[0]
            self._parts[0] = (tokens, length - size)
        return Said(text, tuple(told))

"""Words and their times, out of tokens and theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# The grouping that transformers' own pipeline uses; it has no public name. It knows which languages have no spaces.
from transformers.models.whisper.tokenization_whisper import LANGUAGES, _combine_tokens_into_words
from xserve_engine.transcript import Word


def group(
    tokenizer: Any, tokens: Sequence[int], times: Sequence[float], language: str, begin: float, width: float
) -> Iterator[Word]:
    """The words of a segment, or parts of them, each with the space before it.

    `times`: when each token ends, in seconds from the window's start, or none; `begin` and `width`: the window's start
    in the sound and its length, in seconds. A word begins where the token before it ends.
    """
    said = [place for place, token in enumerate(tokens) if token < tokenizer.eos_token_id] if times else []
    name = LANGUAGES.get(language, language)
    words, _, places = _combine_tokens_into_words(tokenizer, [tokens[place] for place in said], name)
    for word, indices in zip(words, places, strict=True):
        first, last = said[indices[0]], said[indices[-1]]
        start, end = times[max(first - 1, 0)], times[last]
        yield Word(word, *(round(begin + min(one, width), 3) for one in (min(start, end), end)))

"""Log-probabilities as OpenAI's two APIs write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batching import Token


def of_chat(tokens: Sequence[Token], tokenizer: Any) -> dict[str, Any]:
    """The member `logprobs` of a chat's choice."""
    return {"content": [_entry(token, tokenizer) for token in tokens]}


def of_text(tokens: Sequence[Token], tokenizer: Any, offset: int) -> dict[str, Any]:
    """The member `logprobs` of a completion's choice; `offset`: characters of the answer before these tokens."""
    names = [tokenizer.decode([token.id]) for token in tokens]
    offsets = [offset + sum(map(len, names[:index])) for index in range(len(names))]
    return {
        "tokens": names,
        "token_logprobs": [_chosen(token) for token in tokens],
        "top_logprobs": [
            {tokenizer.decode([one]): value for one, value in token.odds.likeliest} if token.odds else {}
            for token in tokens
        ],
        "text_offset": offsets,
    }


def _entry(token: Token, tokenizer: Any) -> dict[str, Any]:
    likeliest = token.odds.likeliest if token.odds else ()
    return {
        **_named(token.id, _chosen(token), tokenizer),
        "top_logprobs": [_named(one, value, tokenizer) for one, value in likeliest],
    }


def _named(token: int, value: float, tokenizer: Any) -> dict[str, Any]:
    text = tokenizer.decode([token])
    return {"token": text, "logprob": value, "bytes": list(text.encode())}


def _chosen(token: Token) -> float:
    return token.odds.chosen if token.odds else 0.0

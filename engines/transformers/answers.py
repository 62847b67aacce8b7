"""Answers in OpenAI's shape, whole or in pieces, for chats and for completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import Any, Protocol

import odds
from batching import Token
from chats import Delta, Voice
from words import Said


class Choice(Protocol):
    """One answer of a request, as it comes. `add` and `close` give the entries of `choices` for a stream."""

    def add(self, said: Said) -> list[dict[str, Any]]: ...

    def close(self, said: Said, finish: str) -> list[dict[str, Any]]: ...

    def whole(self) -> dict[str, Any]: ...


class ChatChoice:
    """An answer in a chat: thoughts, text and tool calls told apart by the voice."""

    def __init__(self, index: int, voice: Voice, tokenizer: Any, tells_odds: bool) -> None:
        self.index = index
        self.finish = ""
        self._voice, self._tokenizer, self._tells_odds = voice, tokenizer, tells_odds
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._tokens: list[Token] = []
        self._untold: list[Token] = []  # tokens whose odds wait for the next piece

    def open(self) -> dict[str, Any]:
        """The first entry of a stream, which names the role."""
        return self._entry({"role": "assistant", "content": ""})

    def add(self, said: Said) -> list[dict[str, Any]]:
        """The entries for what was just said."""
        return self._tell(said, self._voice.feed(said.text))

    def close(self, said: Said, finish: str) -> list[dict[str, Any]]:
        """The last entries; `finish`: why the answer ended."""
        entries = self._tell(said, [*self._voice.feed(said.text), *self._voice.finish()])
        self.finish = "tool_calls" if self._voice.called else finish
        told = odds.of_chat(self._untold, self._tokenizer) if self._untold and self._tells_odds else None
        return [*entries, {**self._entry({}), "logprobs": told, "finish_reason": self.finish}]

    def whole(self) -> dict[str, Any]:
        """The choice of an answer that is not streamed."""
        if "tool_calls" not in self._message:
            self._message["content"] = self._message["content"] or ""
        told = odds.of_chat(self._tokens, self._tokenizer) if self._tells_odds else None
        return {"index": self.index, "message": self._message, "logprobs": told, "finish_reason": self.finish}

    def _tell(self, said: Said, deltas: Iterable[Delta]) -> list[dict[str, Any]]:
        self._tokens += said.tokens
        self._untold += said.tokens
        entries = [self._entry(delta) for delta in deltas]
        for delta in deltas:
            _merge(self._message, delta)
        if entries and self._tells_odds:
            entries[0]["logprobs"] = odds.of_chat(self._untold, self._tokenizer)
            self._untold = []
        return entries

    def _entry(self, delta: Delta) -> dict[str, Any]:
        return {"index": self.index, "delta": delta, "logprobs": None, "finish_reason": None}


def _merge(message: dict[str, Any], delta: Delta) -> None:
    """Put a delta into the message that it is a piece of."""
    for name, value in delta.items():
        if name == "tool_calls":
            calls = message.setdefault(name, [])
            calls += [{key: part for key, part in call.items() if key != "index"} for call in value]
        else:
            message[name] = (message.get(name) or "") + value


class TextChoice:
    """An answer that goes on from a prompt."""

    def __init__(self, index: int, tokenizer: Any, tells_odds: bool) -> None:
        self.index = index
        self.finish = ""
        self._tokenizer, self._tells_odds = tokenizer, tells_odds
        self._text = ""
        self._tokens: list[Token] = []

    def add(self, said: Said) -> list[dict[str, Any]]:
        """The entry for what was just said."""
        entry = self._entry(said.text, said.tokens, len(self._text))
        self._text += said.text
        self._tokens += said.tokens
        return [entry]

    def close(self, said: Said, finish: str) -> list[dict[str, Any]]:
        """The last entry; `finish`: why the answer ended."""
        self.finish = finish
        return [{**entry, "finish_reason": finish} for entry in self.add(said)]

    def whole(self) -> dict[str, Any]:
        """The choice of an answer that is not streamed."""
        return {**self._entry(self._text, self._tokens, 0), "finish_reason": self.finish}

    def _entry(self, text: str, tokens: Iterable[Token], offset: int) -> dict[str, Any]:
        told = odds.of_text(list(tokens), self._tokenizer, offset) if self._tells_odds else None
        return {"index": self.index, "text": text, "logprobs": told, "finish_reason": None}


class Frame:
    """What surrounds the choices of one request."""

    def __init__(self, uid: str, chat: bool) -> None:
        self._fixed = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": uid,
        }
        self._kind = "chat.completion" if chat else "text_completion"
        self._piece = "chat.completion.chunk" if chat else "text_completion"

    def piece(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> dict[str, Any]:
        """An event of a stream."""
        body = {**self._fixed, "object": self._piece, "choices": choices}
        return body if usage is None else {**body, "usage": usage}

    def whole(self, choices: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """The answer that is not streamed."""
        return {**self._fixed, "object": self._kind, "choices": choices, "usage": usage}


def usage(prompt: int, answer: int) -> dict[str, int]:
    """Tokens of the prompts and of all answers."""
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

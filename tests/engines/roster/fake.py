"""The engine without a model."""

from __future__ import annotations

import zlib

from ..subject import PROMPT, WORD, Subject


def subjects() -> list[Subject]:
    """One per model type."""
    definition = {"model_ability": ["chat", "generate"], "context_length": 8192}
    return [
        Subject(
            "fake",
            kind,
            gauge="fake_in_flight",
            format="ggufv2",
            definition=definition,
            word_id=zlib.crc32(WORD.strip().encode()),
            prompt=PROMPT + WORD,
            endless={"fake": {"tokens": 100_000, "token_interval": 0.002}},
            silent={"fake": {"hang": True}},
            slow_load={"load": 3600},
        )
        for kind in ("LLM", "embedding", "rerank", "image", "audio", "flexible")
    ]

"""Sentence Transformers used directly: `python similarity.py KIND WEIGHTS OPTIONS`, KIND being embedding or rerank.

It gets what no server gets: the texts of all requests at once, in one call. Items are texts, or pairs.
"""

from __future__ import annotations

import sys
from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer
from turns import Compute, answer

BATCH = 32


def embedding(weights: str) -> Compute:
    model = SentenceTransformer(weights, device="cpu", local_files_only=True)

    def compute(requests: list[Any]) -> int:
        texts = [text for request in requests for text in request["input"]]
        return len(model.encode(texts, batch_size=BATCH))

    return compute


def rerank(weights: str) -> Compute:
    model = CrossEncoder(weights, device="cpu", local_files_only=True)

    def compute(requests: list[Any]) -> int:
        pairs = [(request["query"], document) for request in requests for document in request["documents"]]
        return len(model.predict(pairs, batch_size=BATCH))

    return compute


if __name__ == "__main__":
    answer({"embedding": embedding, "rerank": rerank}[sys.argv[1]](sys.argv[2]))

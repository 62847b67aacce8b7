"""Sentence Transformers used directly, in a process of its own: the measure for what is served.

    python similarity.py KIND WEIGHTS        KIND: embedding, rerank

Each line of stdin is `{"at_once": n, "seconds": s, "requests": [...]}`: n requests are computed in one call, as
many times as the seconds allow. Answered by the items (texts or pairs) per second.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer


def main(kind: str, weights: str) -> None:
    """Load, say so, and answer line by line."""
    compute = {"embedding": embedding, "rerank": rerank}[kind](weights)
    print("ready", flush=True)
    for line in sys.stdin:
        print(rate(compute, **json.loads(line)), flush=True)


def embedding(weights: str) -> Callable[[list[Any]], int]:
    model = SentenceTransformer(weights, device="cpu", local_files_only=True)

    def compute(requests: list[Any]) -> int:
        texts = [text for request in requests for text in request["input"]]
        return len(model.encode(texts, batch_size=32))

    return compute


def rerank(weights: str) -> Callable[[list[Any]], int]:
    model = CrossEncoder(weights, device="cpu", local_files_only=True)

    def compute(requests: list[Any]) -> int:
        pairs = [(request["query"], document) for request in requests for document in request["documents"]]
        return len(model.predict(pairs, batch_size=32))

    return compute


def rate(compute: Callable[[list[Any]], int], at_once: int, seconds: float, requests: list[Any]) -> float:
    """Items per second."""
    endless = itertools.cycle(requests)
    done, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        done += compute(list(itertools.islice(endless, at_once)))
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])

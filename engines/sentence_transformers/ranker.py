"""The path of a reranker, whichever kind it is."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import judges
import torch
from loading import limit_tokens, load_cross_encoder
from members import count, flag, text
from rows import Row, check_lengths, compute, read
from settings import CROSS_ENCODER, Settings
from xserve_engine.batching import Batcher
from xserve_engine.wire import Handler, HttpError, Reply, Request

Reader = Callable[[str, Sequence[str], bool], list[Row]]  # query, documents, whether to cut them -> a row for each


def prepare(settings: Settings) -> tuple[Mapping[str, Handler], Batcher[Row, float]]:
    """Load the model and try it; its path, and the batches that it feeds."""
    model, reader, limit = load(settings)
    ranker = Ranker(settings, model.eval(), reader, limit)
    ranker.compute(reader("a", ["b"], True))
    return {"/v1/rerank": ranker.rank}, ranker.batcher


def load(settings: Settings) -> tuple[Any, Reader, int]:
    """The model, what makes rows for it, and how many tokens these may have."""
    if settings.scoring != CROSS_ENCODER:
        return judges.load(settings)
    model = load_cross_encoder(settings)
    limit = limit_tokens(model, settings)

    def read_pairs(query: str, documents: Sequence[str], truncate: bool) -> list[Row]:
        return read(model, [(query, document) for document in documents], truncate)

    return model, read_pairs, limit


class Ranker:
    """A model that says how well documents fit a query."""

    def __init__(self, settings: Settings, model: Any, reader: Reader, limit: int) -> None:
        self.settings = settings
        self.model = model
        self.read_rows = reader
        self.limit = limit
        self.batcher: Batcher[Row, float] = Batcher(self.compute, settings.limits)
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="reader")  # the tokenizer is for one thread at a time
        print(f"Pairs of up to {limit} tokens are scored on {model.device}.", flush=True)

    def compute(self, rows: Sequence[Row]) -> Sequence[float]:
        """Probabilities: the logistic of the model's numbers, whatever function the model's own settings name."""
        scores = torch.from_numpy(compute(self.model, rows, "scores")[:, 0])
        return torch.sigmoid(scores).tolist()

    async def rank(self, request: Request, reply: Reply) -> None:
        """`POST /v1/rerank`."""
        body = request.json()
        query, documents = question(body)
        wanted, with_documents = count(body, "top_n"), flag(body, "return_documents", False)
        truncate = flag(body, "truncate", self.settings.options["truncate"])
        rows = await asyncio.get_running_loop().run_in_executor(self.reader, self.read, query, documents, truncate)
        scores = await self.batcher.submit(rows, rows[0].shared)
        best = sorted(range(len(scores)), key=lambda index: -scores[index])[:wanted]
        results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in best]
        if with_documents:
            results = [{**result, "document": {"text": documents[result["index"]]}} for result in results]
        await reply.json(self.answer(results, sum(row.tokens for row in rows)))

    def read(self, query: str, documents: Sequence[str], truncate: bool) -> list[Row]:
        """A row for each document. Raises `HttpError` 400."""
        rows = self.read_rows(query, documents, truncate)
        check_lengths(rows, self.limit)
        return rows

    def answer(self, results: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
        """The body of the answer. Xinference's clients read the tokens under `meta`, others under `usage`."""
        return {
            "id": str(uuid.uuid4()),
            "model": self.settings.uid,
            "results": results,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "meta": {"tokens": {"input_tokens": tokens, "output_tokens": 0}},
        }


def question(body: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The query and the documents. Raises `HttpError` 400."""
    documents = body.get("documents")
    if not isinstance(documents, list) or not documents:
        raise HttpError(400, "A ranking needs a query and a list of documents.")
    if body.get("max_chunks_per_doc") is not None:
        raise HttpError(400, "Documents are not split here: leave out max_chunks_per_doc.")
    return text(body.get("query"), "The query"), [text(each, "A document") for each in documents]

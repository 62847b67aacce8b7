"""The paths of an embedding model."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
from loading import limit_tokens, load_embedder
from members import count, flag
from rows import Row, check_lengths, compute, given, read
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from settings import Settings
from xserve_engine.batching import Batcher
from xserve_engine.launch import BAD_DEFINITION, BAD_OPTION, BAD_WEIGHTS, Refusal
from xserve_engine.wire import Handler, HttpError, Reply, Request

Vector = numpy.ndarray[Any, numpy.dtype[numpy.float32]]
FEWEST = 1e-12  # the library's least divisor: a vector of zeros stays one


def prepare(settings: Settings) -> tuple[Mapping[str, Handler], Batcher[Row, Vector]]:
    """Load the model and try it; its paths, and the batches that they feed."""
    model = load_embedder(settings)
    if not isinstance(model[0], Transformer):
        kind = type(model[0]).__name__
        raise Refusal(BAD_WEIGHTS, f"Only models that begin with a transformer are served, and this has {kind}.")
    embedder = Embedder(settings, model)
    embedder.compute([embedder.blank])
    return {"/v1/embeddings": embedder.embed}, embedder.batcher


class Embedder:
    """A model that makes vectors of texts."""

    def __init__(self, settings: Settings, model: SentenceTransformer) -> None:
        self.settings = settings
        self.model = model.eval()
        self.limit = limit_tokens(model, settings)
        self.size = declared_size(settings, model.get_embedding_dimension())
        self.prompts = {name: prompt for name, prompt in model.prompts.items() if prompt is not None}
        self.prompt = self._default_prompt()
        (self.blank,) = read(model, [""], truncate=True)
        self.words = model.transformers_model.get_input_embeddings().num_embeddings
        self.batcher: Batcher[Row, Vector] = Batcher(self.compute, settings.limits)
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="reader")  # the tokenizer is for one thread at a time
        print(
            f"Texts of up to {self.limit} tokens become vectors of {self.size} numbers on {model.device}.", flush=True
        )

    def _default_prompt(self) -> str:
        name = self.settings.options["prompt_name"]
        if name is not None and name not in self.prompts:
            raise Refusal(BAD_OPTION, f"The model has no prompt {name!r}; it has {', '.join(self.prompts) or 'none'}.")
        return self.prompts.get(name or self.model.default_prompt_name or "", "")

    def compute(self, rows: Sequence[Row]) -> Sequence[Vector]:
        """The vectors of the rows."""
        return list(compute(self.model, rows, "sentence_embedding"))

    async def embed(self, request: Request, reply: Reply) -> None:
        """`POST /v1/embeddings`."""
        body = request.json()
        finish = finishing(body, self.size, self.settings.options["normalize"])
        inputs, prompt = inputs_of(body.get("input")), self.prompt_of(body)
        truncate = flag(body, "truncate", self.settings.options["truncate"])
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(self.reader, self.read, inputs, prompt, truncate)
        vectors = await self.batcher.submit(rows, rows[0].shared)
        data = [
            {"object": "embedding", "index": index, "embedding": finish(vector)} for index, vector in enumerate(vectors)
        ]
        tokens = sum(row.tokens for row in rows)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        await reply.json({"object": "list", "model": self.settings.uid, "data": data, "usage": usage})

    def prompt_of(self, body: Mapping[str, Any]) -> str:
        """What goes before each text: the request's `prompt`, or the model's of the name `prompt_name`."""
        prompt, name = body.get("prompt"), body.get("prompt_name")
        if prompt is not None and not isinstance(prompt, str):
            raise HttpError(400, "The prompt must be a text.")
        if prompt is not None or name is None:
            return self.prompt if prompt is None else prompt
        if name not in self.prompts:
            raise HttpError(400, f"The model has no prompt {name!r}; it has {', '.join(self.prompts) or 'none'}.")
        return self.prompts[name]

    def read(self, inputs: Sequence[str] | Sequence[list[int]], prompt: str, truncate: bool) -> list[Row]:
        """The rows of texts, or of tokens, which are taken as they are. Raises `HttpError` 400."""
        if isinstance(inputs[0], str):
            rows = read(self.model, inputs, truncate, prompt)
        else:
            rows = [given(self._known(tokens)[: self.limit if truncate else None], self.blank) for tokens in inputs]
        check_lengths(rows, self.limit)
        return rows

    def _known(self, tokens: Any) -> list[int]:
        wrong = [token for token in tokens if not 0 <= token < self.words]
        if wrong:
            raise HttpError(400, f"The model knows the tokens 0 to {self.words - 1}, not {wrong[0]}.")
        return list(tokens)


def declared_size(settings: Settings, size: int | None) -> int:
    """Numbers of a vector: the definition's `dimensions`, of which the model must have at least as many."""
    declared = settings.definition.get("dimensions") or size
    if not size or declared > size:
        raise Refusal(BAD_DEFINITION, f"The definition says dimensions: {declared}, and the model has {size}.")
    if declared < size:
        print(f"Vectors are cut from {size} to the {declared} dimensions of the definition.", flush=True)
    return int(declared)


def inputs_of(value: Any) -> list[str] | list[list[int]]:
    """The texts, or the lists of tokens, of a request. Raises `HttpError` 400."""
    values = value if isinstance(value, list) else [value]
    values = [each.get("text") if isinstance(each, dict) and set(each) == {"text"} else each for each in values]
    if values and all(isinstance(each, str) for each in values):
        return values
    if _are_tokens(values):
        return [values]
    if values and all(map(_are_tokens, values)):
        return values
    raise HttpError(400, "The input must be a text, a list of texts, a list of tokens or a list of such lists.")


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)


def finishing(body: Mapping[str, Any], size: int, normalize: bool) -> Callable[[Vector], str | list[float]]:
    """What makes of a vector what the request wants: its first `dimensions`, of length one, written as it says."""
    wanted, written = count(body, "dimensions") or size, body.get("encoding_format") or "float"
    if wanted > size:
        raise HttpError(400, f"The model gives vectors of up to {size} dimensions, not {wanted}.")
    if written not in ("float", "base64"):
        raise HttpError(400, f"The encoding_format is float or base64, not {written}.")
    unit = flag(body, "normalize", flag(body, "normalize_embeddings", normalize))

    def finish(vector: Vector) -> str | list[float]:
        cut = vector[:wanted]
        if unit:
            cut = cut / max(float(numpy.linalg.norm(cut)), FEWEST)
        return base64.b64encode(cut.astype("<f4").tobytes()).decode() if written == "base64" else cut.tolist()

    return finish

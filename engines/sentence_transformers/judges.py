"""Language models as rerankers: they read a query and a document, and their next word is the verdict.

Nothing is generated: the score is what the model gives to the word "yes" (Qwen3 sets it against "no") as the next
token. Which words stand around query and document is fixed by the training of each family; these are the published
forms of Qwen3-Reranker and of the bge-rerankers. Layerwise models of the latter family have a head at each layer,
in code of their own, and are asked for the score of one of them.

Long documents are cut, if that is wanted, and never the words around them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from loading import attempt, limit_tokens, model_arguments
from rows import Row
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from settings import BGE, LAYERWISE, QWEN3, Settings
from xserve_engine.launch import BAD_OPTION, Refusal

QWEN3_TASK = "Given a web search query, retrieve relevant passages that answer the query"
BGE_TASK = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'."
)
LAST_LAYER = 28  # what the published layerwise model recommends
SHARED = (("logits_to_keep", 1), ("modality", "text"))


@dataclass(frozen=True, slots=True)
class Parts:
    """What one pair is asked in; every part is turned into tokens by itself."""

    head: tuple[str, ...]
    long: str  # the part that is cut if the whole is too long
    tail: tuple[str, ...]


def qwen3(query: str, document: str, task: str) -> Parts:
    """The form of Qwen3-Reranker."""
    return Parts(
        (
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
            'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
        ),
        f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}",
        ("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",),
    )


def bge(query: str, document: str, task: str) -> Parts:
    """The form of bge-reranker-v2-gemma and its kin."""
    return Parts((f"A: {query}", "\n"), f"B: {document}", ("\n", task))


@dataclass(frozen=True, slots=True)
class Form:
    """How a family is asked."""

    parts: Callable[[str, str, str], Parts]  # query, document and what the ranking is for
    task: str  # what it is for, unless the option `instruction` says
    begins: bool  # whether the tokenizer's token for the beginning comes first
    yes: str
    no: str | None = None  # none: what `yes` gets is the score by itself


FORMS = {
    QWEN3: Form(qwen3, QWEN3_TASK, False, "yes", "no"),
    BGE: Form(bge, BGE_TASK, True, "Yes"),
    LAYERWISE: Form(bge, BGE_TASK, True, "Yes"),
}


def load(settings: Settings) -> tuple[CrossEncoder, Judge, int]:
    """The model, what makes rows for it, and how many tokens these may have."""
    form = FORMS[settings.scoring]
    model = attempt(settings, lambda: assemble(settings, form))
    limit = limit_tokens(model, settings)
    judge = Judge(model.tokenizer, form, settings.options["instruction"] or form.task, limit)
    if limit <= judge.least:
        raise Refusal(BAD_OPTION, f"{limit} tokens leave no room for a pair: the words around it take {judge.least}.")
    return model, judge, limit


def assemble(settings: Settings, form: Form) -> CrossEncoder:
    """The library's reranker out of a language model and what reads its verdict.

    A model stored in half precision computes in single precision on a processor, as the library has it elsewhere.
    """
    layerwise = settings.scoring == LAYERWISE
    given = {"local_files_only": True, "trust_remote_code": settings.remote_code}
    network = (Layer if layerwise else Transformer)(
        str(settings.weights),
        transformer_task="text-generation",
        model_kwargs={**given, **model_arguments(settings)},
        processor_kwargs=dict(given),
        config_kwargs=dict(given),
    )
    if isinstance(network, Layer):
        network.number = settings.options["layer"] or LAST_LAYER
    words = [first_token(network.tokenizer, word) for word in (form.yes, form.no) if word]
    modules = [network] if layerwise else [network, LogitScore(*words)]
    model = CrossEncoder(modules=modules, device=settings.options["device"])
    whole = settings.options["dtype"] == "auto" and model.device.type == "cpu"
    return model.float() if whole else model


def first_token(tokenizer: Any, word: str) -> int:
    """The token that a word begins with."""
    return int(tokenizer(word, add_special_tokens=False)["input_ids"][0])


class Layer(Transformer):
    """A layerwise network, which is asked for the scores of one of its layers.

    Its code returns, for each of `cutoff_layers`, one number at every token; the last token's is the score.
    """

    number = LAST_LAYER

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The features with `scores`, of shape (rows, 1)."""
        inputs = {name: features[name] for name in ("input_ids", "attention_mask")}
        scores: torch.Tensor = self.model(**inputs, cutoff_layers=[self.number], return_dict=True)[0][0]
        return {**features, "scores": scores[:, -1].reshape(-1, 1)}


class Judge:
    """Makes rows of tokens out of queries and documents."""

    def __init__(self, tokenizer: Any, form: Form, task: str, limit: int) -> None:
        self.tokenizer = tokenizer
        self.form = form
        self.task = task
        self.limit = limit
        starts = form.begins and tokenizer.bos_token_id not in (None, tokenizer.pad_token_id)
        self.start = [tokenizer.bos_token_id] if starts else []
        self.least = self("", [""], False)[0].tokens

    def __call__(self, query: str, documents: Sequence[str], truncate: bool) -> list[Row]:
        """A row for each document. The document is cut to what the limit leaves, if `truncate` says so."""
        pairs = [self.form.parts(query, document, self.task) for document in documents]
        texts = list(dict.fromkeys(text for pair in pairs for text in (*pair.head, pair.long, *pair.tail)))
        tokens = dict(zip(texts, self.tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))
        return [self._row(pair, tokens, truncate) for pair in pairs]

    def _row(self, pair: Parts, tokens: Mapping[str, list[int]], truncate: bool) -> Row:
        head = self.start + [token for part in pair.head for token in tokens[part]]
        tail = [token for part in pair.tail for token in tokens[part]]
        room = max(0, self.limit - len(head) - len(tail)) if truncate else None
        ids = head + tokens[pair.long][:room] + tail
        return Row({"input_ids": ids, "attention_mask": [1] * len(ids)}, SHARED)

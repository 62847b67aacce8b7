"""vLLM says what the libraries say of the same weights, and what it refuses is a sentence.

A start takes the better part of a minute, so these run with --long, each model started once.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..weights import model
from .harness import Engine, until
from .interpreters import interpreter
from .roster.vllm import subjects
from .sounds import form, words
from .subject import PROMPT, Subject

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HERE = Path(__file__).parent
SUBJECTS = {subject.type: subject for subject in subjects()}
pytestmark = pytest.mark.timeout(1200)

MOST = 24  # tokens of an answer
PROMPTS = [PROMPT, "Once upon a time there was a", "def fibonacci(n):", "The three primary colours are"]
TEXTS = ["The man is eating a meal", "Someone eats food for lunch", "Stocks fell today", "x", "naïve café 東京"]
QUERY = "what is a cat"
DOCUMENTS = ["a cat is a small animal with soft fur", "stocks fell today", "the weather in Rome", "dogs bark"]
SENTENCE = "The meeting starts at nine o'clock on Monday morning."
# The template opens the tag, and what the user said opens the answer: the model goes on with it.
THINKING = (
    "{% if enable_thinking is defined and not enable_thinking %}{{ messages[0].content }}"
    "{% else %}{{ messages[0].content }}<think>{% endif %}"
)
REASONS = {"reasoning_start_tag": "<think>", "reasoning_end_tag": "."}


def kept(kind: str, request: pytest.FixtureRequest) -> Subject:
    """A subject, skipped where it cannot be tried or would take too long."""
    if not request.config.getoption("--long", None):
        pytest.skip("starts a heavy engine: --long")
    if SUBJECTS[kind].missing:
        pytest.skip(SUBJECTS[kind].missing)
    return SUBJECTS[kind]


def run(engine: str, script: str, *arguments: str, given: object = None) -> Any:
    """The JSON that a script prints, run in the environment of an engine."""
    python, missing = interpreter(engine)
    if missing:
        pytest.skip(missing)
    done = subprocess.run(
        [python, str(HERE / script), *arguments],
        input=json.dumps(given),
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")


@contextlib.contextmanager
def served(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The subject, ready."""
    with Engine(subject, tmp_path_factory.mktemp("engine")) as engine:
        engine.wait_ready()
        yield engine


# Text


@pytest.fixture(scope="module")
def adapters(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the adapter `one`."""
    out = tmp_path_factory.mktemp("adapters")
    run("transformers", "library/adapter.py", kept("LLM", request).weights, str(out), "one")
    return out


@pytest.fixture(scope="module")
def llm(request: pytest.FixtureRequest, adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The text model with an adapter, and with a full stop for the end of its thoughts."""
    subject = kept("LLM", request).but(
        definition={**REASONS, "chat_template": THINKING},
        launch={"lora": [{"name": "one", "path": str(adapters / "one")}]},
    )
    with served(subject, tmp_path_factory) as engine:
        yield engine


@pytest.fixture(scope="module")
def library(llm: Engine, adapters: Path) -> dict[str | None, list[Any]]:
    """What the library answers to each prompt, by adapter."""
    questions = [{"prompt": prompt, "limit": MOST, "adapter": name} for name in (None, "one") for prompt in PROMPTS]
    told = run("transformers", "library/generate.py", llm.subject.weights, str(adapters), given=questions)
    return {None: told[: len(PROMPTS)], "one": told[len(PROMPTS) :]}


@pytest.mark.parametrize("adapter", [None, "one"])
def test_greedy_text_is_the_librarys_token_for_token(
    llm: Engine, library: dict[str | None, list[Any]], adapter: str | None
) -> None:
    """Also by an adapter, which is asked for by its name."""
    for prompt, expected in zip(PROMPTS, library[adapter], strict=True):
        body = {"prompt": prompt, "max_tokens": MOST, "temperature": 0, "return_token_ids": True}
        answer = llm.post(TEXT, **body, **({"model": adapter} if adapter else {}))
        assert answer["choices"][0]["token_ids"] == expected["ids"]
        assert answer["choices"][0]["text"] == expected["text"]


def test_the_adapter_changes_what_is_said(library: dict[str | None, list[Any]]) -> None:
    assert library[None] != library["one"]


def think(**body: Any) -> dict[str, Any]:
    """A chat whose answer goes on with the prompt."""
    return {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 24, "temperature": 0, **body}


def test_thoughts_that_the_template_opened_leave_the_content(llm: Engine) -> None:
    message = llm.post(CHAT, **think())["choices"][0]["message"]
    assert message["reasoning_content"]
    assert "." not in message["reasoning_content"]
    assert message["content"]


def test_streamed_thoughts_are_the_same_thoughts(llm: Engine) -> None:
    whole = llm.post(CHAT, **think())["choices"][0]["message"]
    deltas = [json.loads(event)["choices"][0]["delta"] for event in llm.stream(CHAT, **think()) if event != "[DONE]"]
    for member in ("reasoning_content", "content"):
        assert "".join(delta.get(member) or "" for delta in deltas) == whole[member]


def test_thoughts_that_were_never_closed_are_still_thoughts(llm: Engine) -> None:
    body = think(max_tokens=2)
    message = llm.post(CHAT, **body)["choices"][0]["message"]
    assert message["reasoning_content"]
    assert not message["content"]


def test_without_thinking_all_is_content(llm: Engine) -> None:
    body = think(chat_template_kwargs={"enable_thinking": False})
    message = llm.post(CHAT, **body)["choices"][0]["message"]
    assert message["content"].startswith(" Paris")
    assert not message["reasoning_content"]


def test_an_answer_keeps_to_a_json_schema(llm: Engine) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 99}}, "required": ["age"]}
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    body = think(response_format=form, chat_template_kwargs={"enable_thinking": False}, include_reasoning=False)
    content = llm.post(CHAT, **body)["choices"][0]["message"]["content"]
    assert isinstance(json.loads(content)["age"], int)


def test_a_prompt_that_is_too_long_is_the_clients_fault(llm: Engine) -> None:
    status, answer = llm.ask("POST", TEXT, {"model": "served", "prompt": "word " * 9000, "max_tokens": 1})
    assert status == 400
    assert "context" in json.loads(answer)["error"]["message"]


def test_a_killed_server_leaves_no_process_behind(llm: Engine) -> None:
    """Nor shared memory. The last one of this engine: its core and its workers hold the memory."""
    shared = {path for pid in llm.session() for path in shared_by(pid)}
    assert shared
    assert len(llm.session()) > 2
    llm.process.kill()
    until(lambda: not llm.session(), "all of its session is gone")
    assert not [path for path in shared if Path(path).exists()]


def shared_by(pid: int) -> set[str]:
    """Named memory that a process uses."""
    return {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/dev/shm/psm_" in line}


# Vectors, scores, speech


def test_vectors_are_those_of_sentence_transformers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    subject = kept("embedding", request)
    asked = {"what": "embed", "weights": subject.weights, "texts": TEXTS}
    expected = run("sentence_transformers", "references/similarity.py", given=asked)["vectors"]
    with served(subject, tmp_path_factory) as engine:
        data = engine.post("/v1/embeddings", input=TEXTS)["data"]
        for entry, vector in zip(data, expected, strict=True):
            assert entry["embedding"] == pytest.approx(vector, abs=1e-3)
        status, answer = engine.ask("POST", "/v1/embeddings", {"model": "served", "input": "word " * 600})
        assert status == 400
        assert json.loads(answer)["error"]["message"]


def test_scores_are_those_of_the_cross_encoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    subject = kept("rerank", request)
    pairs = [[QUERY, document] for document in DOCUMENTS]
    asked = {"what": "predict", "weights": subject.weights, "pairs": pairs}
    expected = run("sentence_transformers", "references/similarity.py", given=asked)
    with served(subject, tmp_path_factory) as engine:
        results = engine.post("/v1/rerank", query=QUERY, documents=DOCUMENTS)["results"]
    scores = [result["relevance_score"] for result in sorted(results, key=lambda result: result["index"])]
    assert scores == pytest.approx(expected, abs=1e-2)
    assert max(scores) - min(scores) > 0.1


def test_a_spoken_sentence_is_transcribed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    subject = kept("audio", request)
    voice, unmade = model("piper-joe")
    python, missing = interpreter("piper")
    if unmade or missing:
        pytest.skip(unmade or missing)
    spoken = tmp_path_factory.mktemp("speech") / "spoken.wav"
    subprocess.run([python, str(HERE / "library" / "speak.py"), voice, SENTENCE, str(spoken)], check=True)
    with served(subject, tmp_path_factory) as engine:
        assert engine.probe() == 200
        body, kind = form(spoken.read_bytes(), language="en", temperature="0")
        status, answer = engine.ask("POST", "/v1/audio/transcriptions", body, kind)
        assert status == 200, answer
        assert words(json.loads(answer)["text"]) == words(SENTENCE)


# Refusals, in vLLM's words


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"extra_args": {"no_such_flag": 1}}, "--no-such-flag"),
        ({"extra_args": {"logprobs_mode": "loud"}}, "loud"),
        ({"max_model_len": 100_000}, "max_model_len"),
        ({"tool_parser": "telepathy"}, "telepathy"),
    ],
    ids=["unknown flag", "bad value", "too long", "unknown parser"],
)
def test_what_vllm_refuses_is_a_sentence(
    request: pytest.FixtureRequest, tmp_path: Path, options: dict[str, Any], hint: str
) -> None:
    definition = {"model_ability": ["chat", "tools"]}
    with Engine(kept("LLM", request).but(options=options, definition=definition), tmp_path) as engine:
        assert engine.end() == 64, engine.text()
        last = engine.text().splitlines()[-1]
    assert last.startswith("vLLM ")
    assert last.endswith(".")
    assert hint in last

"""llama.cpp gives real answers, and says at once what can never work.

SmolLM2-135M is a weak model: it is asked only what it can do.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

from .conftest import Starter
from .harness import Engine
from .roster.llama_cpp import smollm2, subjects
from .subject import LONG, PROMPT, Subject

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
QUESTION = [{"role": "user", "content": "What is 2+3?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Weather.", "parameters": CITY}}
# A template of the usual shape, from which llama.cpp learns how a call is written.
TOOL_TEMPLATE = r"""
{%- if tools %}
    {{- '<|im_start|>system\nYou may call these functions:\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '\nA call is written <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' }}
        {%- if message.content %}
            {{- message.content }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""


def asked_about(city: str) -> dict[str, str]:
    """A question that a tool answers."""
    return {"role": "user", "content": f"What is the weather in {city}?"}


def called_for(city: str) -> dict[str, Any]:
    """The assistant's call of the tool."""
    function = {"name": "weather", "arguments": json.dumps({"city": city})}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": city, "type": "function", "function": function}]}


def by(backend: str, kind: str) -> Subject:
    """A subject, skipped where it is not installed."""
    (found,) = [one for one in subjects() if (one.backend, one.type) == (backend, kind)]
    if found.missing:
        pytest.skip(found.missing)
    return found


@pytest.fixture(scope="module", params=["xllamacpp", "llama-cpp-python", "llama-server"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend."""
    return str(request.param)


@pytest.fixture(scope="module")
def llm(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The text model, ready."""
    with Engine(by(backend, "LLM"), tmp_path_factory.mktemp("llm")) as engine:
        engine.wait_ready()
        yield engine


# Answers


def test_the_capital_of_france_is_paris(llm: Engine) -> None:
    assert "Paris" in llm.post(TEXT, prompt=PROMPT, max_tokens=5, temperature=0)["choices"][0]["text"]


def test_two_and_three_make_five(llm: Engine) -> None:
    answer = llm.post(CHAT, messages=QUESTION, max_tokens=16, temperature=0)
    assert "5" in answer["choices"][0]["message"]["content"]


def test_eight_chats_at_once_are_all_answered(llm: Engine) -> None:
    """More than there are slots: the others wait."""
    streams = [llm.stream(CHAT, messages=QUESTION, max_tokens=16, temperature=0) for _ in range(8)]
    for stream in streams:
        pieces = [json.loads(event)["choices"] for event in stream if event != "[DONE]"]
        assert "5" in "".join(choice["delta"].get("content") or "" for choices in pieces for choice in choices)


def test_a_prompt_that_is_too_long_is_the_clients_fault(llm: Engine) -> None:
    status, answer = llm.ask("POST", TEXT, {"prompt": LONG * 2, "max_tokens": 1})
    assert status == 400
    assert "context" in json.loads(answer)["error"]["message"]


def test_an_answer_keeps_to_a_json_schema(llm: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    if llm.subject.backend == "llama-cpp-python":
        shape = {"type": "json_object", "schema": schema}
    asked = [{"role": "user", "content": "Tell me about Ann, who is 5 years old."}]
    answer = llm.post(CHAT, messages=asked, response_format=shape, max_tokens=80, temperature=0)
    person = json.loads(answer["choices"][0]["message"]["content"])
    assert isinstance(person["age"], int)
    assert isinstance(person["name"], str)


@pytest.mark.parametrize("name", ["xllamacpp", "llama-server"])
def test_a_required_tool_is_called(name: str, start: Starter) -> None:
    """The definition's chat template is in force, and tells llama.cpp how a call is written.

    The model is too weak to think of a call by itself, so it is shown three.
    """
    engine = start(by(name, "LLM"), definition={"chat_template": TOOL_TEMPLATE})
    engine.wait_ready()
    shown = [message for city in ("Paris", "Oslo", "Bonn") for message in (asked_about(city), called_for(city))]
    answer = engine.post(
        CHAT,
        messages=[*shown, asked_about("Rome")],
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=60,
        temperature=0,
    )
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}


def test_texts_of_one_meaning_are_near_each_other(backend: str, start: Starter) -> None:
    engine = start(by(backend, "embedding"))
    engine.wait_ready()
    texts = ["The man is eating a meal", "Someone eats food for lunch", "Stocks fell today"]
    eating, meal, stocks = (entry["embedding"] for entry in engine.post("/v1/embeddings", input=texts)["data"])
    assert _cosine(eating, meal) > 0.5 > 0.2 > _cosine(eating, stocks)


def test_a_text_that_is_too_long_to_embed_is_the_clients_fault(start: Starter) -> None:
    engine = start(by("xllamacpp", "embedding"))
    engine.wait_ready()
    status, answer = engine.ask("POST", "/v1/embeddings", {"input": "word " * 1000})
    assert status == 400
    assert json.loads(answer)["error"]["message"]


def _cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["xllamacpp", "llama-server"])
def test_a_rankings_scores_are_the_logistic_of_llama_cpps(name: str, start: Starter) -> None:
    engine = start(by(name, "rerank"))
    engine.wait_ready()
    asked = {"query": "what is a cat", "documents": ["a cat is an animal", "stocks fell today"]}
    scores = [result["relevance_score"] for result in engine.post("/v1/rerank", **asked)["results"]]
    engine.socket = engine.socket.replace(".sock", ".in.sock")
    raw = [result["relevance_score"] for result in engine.post("/v1/rerank", **asked)["results"]]
    assert scores == pytest.approx([1 / (1 + math.exp(-number)) for number in raw], abs=1e-6)
    assert scores != pytest.approx(raw, abs=1e-2)


@pytest.mark.parametrize("name", ["xllamacpp", "llama-server"])
def test_a_ranking_leaves_no_inner_socket_behind(name: str, start: Starter) -> None:
    engine = start(by(name, "rerank"))
    engine.wait_ready()
    assert len(list(Path(engine.private).glob("*.sock"))) == 2
    engine.process.terminate()
    engine.end()
    assert not list(Path(engine.private).glob("*.in.sock"))


# Refusals


def refusal(engine: Engine, code: int) -> str:
    """The last line of an engine that left with this code."""
    assert engine.end() == code, engine.text()
    return engine.text().splitlines()[-1]


def gguf(path: Path, **values: str | bool | int) -> str:
    """A file with these metadata (`__` for `.`) and no tensors."""
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(values))
    for name, value in values.items():
        key = name.replace("__", ".").encode()
        data += struct.pack("<Q", len(key)) + key
        if isinstance(value, str):
            data += struct.pack("<IQ", 8, len(value)) + value.encode()
        else:
            data += struct.pack("<I?", 7, value) if isinstance(value, bool) else struct.pack("<II", 4, value)
    path.write_bytes(data)
    return str(path)


LLM = "xllamacpp", "LLM"


def test_a_file_of_another_format_is_refused(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("not weights")
    assert "not a GGUF file" in refusal(start(by(*LLM), weights=str(tmp_path / "model.gguf")), 65)


def test_an_empty_file_is_refused(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    assert "damaged or incomplete" in refusal(start(by(*LLM), weights=str(tmp_path / "model.gguf")), 65)


def test_a_directory_is_refused(start: Starter, tmp_path: Path) -> None:
    assert "is a directory" in refusal(start(by(*LLM), weights=str(tmp_path)), 65)


@pytest.mark.parametrize("kept", [3, 12, 100, 5_000, 2_000_000])
def test_a_file_that_was_cut_short_is_refused(start: Starter, tmp_path: Path, kept: int) -> None:
    with Path(smollm2()).open("rb") as file:
        (tmp_path / "model.gguf").write_bytes(file.read(kept))
    sentence = refusal(start(by(*LLM), weights=str(tmp_path / "model.gguf")), 65)
    assert "damaged or incomplete" in sentence or "not a GGUF file" in sentence


@pytest.mark.parametrize(
    "claim", [(8, 2, 2**64 - 1), (4, 2**62, 0)], ids=["a string of that length", "an array of that length"]
)
def test_a_file_that_claims_more_than_can_be_counted_is_refused(
    start: Starter, tmp_path: Path, claim: tuple[int, int, int]
) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    (tmp_path / "model.gguf").write_bytes(head + struct.pack("<IQQ", *claim) + bytes(64))
    assert "damaged or incomplete" in refusal(start(by(*LLM), weights=str(tmp_path / "model.gguf")), 65)


def test_an_encoder_is_refused_as_a_text_model(start: Starter) -> None:
    weights = by("xllamacpp", "embedding").weights
    assert "cannot generate text" in refusal(start(by(*LLM), weights=weights), 65)


def test_a_model_without_a_head_is_refused_as_a_reranker(start: Starter) -> None:
    weights = by("xllamacpp", "embedding").weights
    assert "no classification head" in refusal(start(by("xllamacpp", "rerank"), weights=weights), 65)


def test_a_chat_model_without_any_template_is_refused(start: Starter, tmp_path: Path) -> None:
    weights = gguf(tmp_path / "bare.gguf", general__architecture="llama", llama__context_length=64)
    assert "has a chat template" in refusal(start(by(*LLM), weights=weights), 78)


def test_a_template_that_cannot_be_read_is_refused(start: Starter) -> None:
    engine = start(by(*LLM), definition={"chat_template": "{% if messages %}"})
    assert "chat template" in refusal(engine, 78)


def test_a_missing_adapter_is_refused(start: Starter) -> None:
    engine = start(by(*LLM), options={"lora": [{"path": "/no/such/adapter"}]})
    assert "/no/such/adapter" in refusal(engine, 66)


def test_a_mistyped_option_is_told_its_right_name(start: Starter) -> None:
    assert "Did you mean n_ctx?" in refusal(start(by(*LLM), options={"n_ctxx": 1}), 64)

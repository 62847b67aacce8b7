"""What a definition says of chats holds on every engine of text models: template, tags, switch, tools, adapters.

A weak real model talks through a template of the usual shape. It is shown by example what to write, and goes on in
the same way; so what it writes is known, and is its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ..weights import model
from .harness import Engine
from .roster import subjects
from .subject import PROMPT, WORD, Subject

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
TEMPLATE = r"""
{%- if capital is defined %}
    {{- 'The capital of ' + capital + ' is' }}
{%- else %}
    {%- if tools %}
        {{- '<|im_start|>system\nYou may call these functions:\n' }}
        {%- for tool in tools %}
            {{- tool | tojson }}
        {%- endfor %}
        {{- '\nA call is written <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\n' }}
    {%- endif %}
    {%- for message in messages %}
        {{- '<|im_start|>' + message.role + '\n' + (message.content or '') }}
        {%- for call in message.tool_calls or [] %}
            {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endfor %}
    {%- if add_generation_prompt %}
        {{- '<|im_start|>assistant\n' }}
        {%- if enable_thinking %}
            {{- '<reason>\n' }}
        {%- endif %}
    {%- endif %}
{%- endif %}
"""
DEFINITION = {
    "chat_template": TEMPLATE,
    "model_ability": ["chat", "generate", "tools", "reasoning", "hybrid"],
    "reasoning_start_tag": "<reason>",
    "reasoning_end_tag": "</reason>",
    "tool_parser": "hermes",
}
SUM = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "sum",
            "schema": {
                "type": "object",
                "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}},
                "required": ["sum"],
                "additionalProperties": False,
            },
        },
    }
}
THINKING = {"chat_template_kwargs": {"enable_thinking": True}}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Weather.", "parameters": CITY}}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every engine of text models but the one that has none."""
    config = metafunc.config
    chosen = [
        pytest.param(subject, id=subject.id, marks=_marks(subject, config.getoption("--long")))
        for subject in subjects()
        if subject.type == "LLM" and subject.engine in (config.getoption("--engine") or subject.engine, "")
        if subject.engine != "fake" and not subject.variant
    ]
    metafunc.parametrize("talker", chosen, indirect=True, scope="module")


def _marks(subject: Subject, long: bool) -> list[pytest.MarkDecorator]:
    if subject.engine == "vllm" and not long:
        return [pytest.mark.skip(reason="one more start of vLLM: --long")]
    return subject.marks()


@pytest.fixture(scope="module")
def talker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine with the definition and an adapter, ready; one for all tests."""
    adapter, missing = model("smollm2-lora")
    if missing:
        pytest.skip(missing)
    if request.param.backend == "llama-cpp-python":
        pytest.skip(
            "llama-cpp-python serves neither adapters nor variables of templates, and leaves thoughts where they are"
        )
    path = f"{adapter}/adapter.gguf" if request.param.format == "ggufv2" else adapter
    subject = request.param.but(definition=DEFINITION, launch={"lora": [{"name": "nonsense", "path": path}]})
    with Engine(subject, tmp_path_factory.mktemp("talker")) as engine:
        engine.wait_ready()
        yield engine


def ask(engine: Engine, streamed: bool, **body: Any) -> dict[str, Any]:
    """The message of the answer, put together where it is streamed. Thinking is off unless the body says otherwise."""
    body = {"temperature": 0, "max_tokens": 48, "chat_template_kwargs": {"enable_thinking": False}, **body}
    if not streamed:
        return engine.post(CHAT, **body)["choices"][0]["message"]
    *events, last = engine.stream(CHAT, **body)
    assert last == "[DONE]"
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    texts = {name: "".join(delta.get(name) or "" for delta in deltas) for name in ("content", "reasoning_content")}
    return {**texts, "tool_calls": _joined([call for delta in deltas for call in delta.get("tool_calls") or []])}


def _joined(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        call = calls.setdefault(piece["index"], {"function": {"name": "", "arguments": ""}})
        for name in ("name", "arguments"):
            call["function"][name] += piece["function"].get(name) or ""
    return list(calls.values())


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def sums(*numbers: int) -> Iterator[dict[str, str]]:
    """A conversation in which thoughts are written before every answer."""
    for number in numbers:
        yield said("user", f"What is {number}+1?")
        yield said("assistant", f"<reason>\nWe add one.\n</reason>\n\nIt is {number + 1}.")


@pytest.mark.parametrize(("capital", "city"), [("France", "Paris"), ("Italy", "Rome")])
def test_the_definitions_template_writes_the_prompt_and_takes_a_requests_variables(
    talker: Engine, capital: str, city: str
) -> None:
    message = ask(talker, False, messages=[said("user", "?")], chat_template_kwargs={"capital": capital}, max_tokens=8)
    assert city in message["content"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("opened", [False, True], ids=["by the model", "by the prompt"])
def test_thoughts_between_the_definitions_tags_are_told_from_the_answer(
    talker: Engine, streamed: bool, opened: bool
) -> None:
    """The tag is opened by the model, or by the template where a request switches thinking on."""
    asked = [*sums(2, 5, 7), said("user", "What is 3+1?")]
    message = ask(talker, streamed, messages=asked, chat_template_kwargs={"enable_thinking": opened})
    assert message["reasoning_content"].strip() == "We add one."
    assert message["content"].strip().startswith("It is")
    assert "reason>" not in message["content"]


def test_log_probabilities_of_a_tag_are_streamed_though_it_is_not_shown(talker: Engine) -> None:
    """Here the answer ends with it, so that no text follows which could bring them along."""
    _require_waiting(talker)
    asked = {"messages": [*sums(2, 5, 7), said("user", "What is 3+1?")], "temperature": 0, "stop": "It", **THINKING}
    asked |= {"logprobs": True}
    whole = talker.post(CHAT, **asked)["choices"][0]["logprobs"]["content"]
    events = [json.loads(data)["choices"][0] for data in list(talker.stream(CHAT, **asked))[:-1]]
    streamed = [entry for event in events if event["logprobs"] for entry in event["logprobs"]["content"]]
    assert "</reason>" in "".join(entry["token"] for entry in whole)
    assert [entry["token"] for entry in streamed] == [entry["token"] for entry in whole]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_schema_holds_for_what_comes_after_the_thoughts(talker: Engine, streamed: bool) -> None:
    _require_waiting(talker)
    message = ask(talker, streamed, messages=[*sums(2, 5, 7), said("user", "What is 3+1?")], **SUM, **THINKING)
    assert message["reasoning_content"].strip() == "We add one."
    assert json.loads(message["content"]).keys() == {"sum"}


def test_a_demanded_tool_is_called_after_the_thoughts(talker: Engine) -> None:
    _require_waiting(talker)
    asked = [*sums(2, 5, 7), said("user", "What is 3+1?")]
    message = ask(talker, False, messages=asked, tools=[WEATHER], tool_choice="required", max_tokens=64, **THINKING)
    assert message["reasoning_content"].strip() == "We add one."
    assert message["tool_calls"][0]["function"]["name"] == "weather"
    assert not message["content"]


def test_a_schema_holds_at_once_where_nothing_is_thought(talker: Engine) -> None:
    message = ask(talker, False, messages=[said("user", "What is 3+1?")], **SUM)
    assert not message.get("reasoning_content")
    assert json.loads(message["content"]).keys() == {"sum"}


@pytest.mark.parametrize("switched", [True, False])
def test_thinking_is_switched_by_a_member_of_its_own(talker: Engine, switched: bool) -> None:
    """As Qwen's clients write it; the prompt is longer by the tag that it opens."""
    _require_waiting(talker)
    asked = {"messages": [said("user", "What is 3+1?")], "max_tokens": 1}
    bare, said_so = (
        talker.post(CHAT, **asked, **more)["usage"]["prompt_tokens"] for more in ({}, {"enable_thinking": switched})
    )
    assert (said_so > bare) == switched


def _require_waiting(talker: Engine) -> None:
    if talker.subject.engine != "transformers":
        pytest.skip("a server of its own, which does so in its own way or not at all")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_an_answer_without_thoughts_is_all_content(talker: Engine, streamed: bool) -> None:
    shown = [(said("user", f"What is {number}+1?"), said("assistant", f"It is {number + 1}.")) for number in (2, 5, 7)]
    asked = [message for turn in shown for message in turn] + [said("user", "What is 3+1?")]
    message = ask(talker, streamed, messages=asked)
    assert message["content"].startswith("It is")
    assert not message.get("reasoning_content")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_tool_that_the_model_chooses_to_call_is_called(talker: Engine, streamed: bool) -> None:
    cities = ("Paris", "Oslo", "Bonn")
    shown = [message for city in cities for message in (_asked_about(city), _called_for(city), _told())]
    message = ask(talker, streamed, messages=[*shown, _asked_about("Rome")], tools=[WEATHER])
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}
    assert not message["content"]


def test_a_demanded_tool_is_called_whatever_the_model_would_say(talker: Engine) -> None:
    _require_demands(talker)
    message = ask(talker, False, messages=[_asked_about("Rome")], tools=[WEATHER], tool_choice="required")
    assert message.get("tool_calls"), message
    (call, *_) = message["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert list(json.loads(call["function"]["arguments"])) == ["city"]


def test_a_demanded_tool_that_is_not_there_is_the_clients_fault(talker: Engine) -> None:
    _require_demands(talker)
    choice = {"type": "function", "function": {"name": "no_such_tool"}}
    body = {"model": "served", "messages": [_asked_about("Rome")], "tools": [WEATHER], "tool_choice": choice}
    assert talker.ask("POST", CHAT, {**body, "max_tokens": 8})[0] == 400


def _require_demands(talker: Engine) -> None:
    if talker.subject.engine == "llama_cpp":
        pytest.skip(
            "llama.cpp's server leaves the choice to the model, whatever tool_choice says: its issues 27217 and 26535"
        )


def _asked_about(city: str) -> dict[str, Any]:
    return said("user", f"What is the weather in {city}?")


def _called_for(city: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": json.dumps({"city": city})}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "123456789", "type": "function", "function": function}],
    }


def _told() -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "123456789", "content": "Sunny."}


def test_an_adapter_answers_to_its_name_and_to_no_other(talker: Engine) -> None:
    """Asked for by its name, or as the manifest says; what it has read changes no answer of the model alone."""
    named = _filled(talker.manifest.adapters) if talker.manifest.adapters else {"model": "nonsense"}
    asked = {"prompt": PROMPT, "max_tokens": 6, "temperature": 0}
    alone, adapted, again = (
        talker.post(TEXT, **asked, **selection)["choices"][0]["text"] for selection in ({}, named, {})
    )
    assert WORD in alone
    assert WORD not in adapted
    assert alone == again


def _filled(members: Any) -> Any:
    """The members that select the first adapter, as the gateway fills them in."""
    return json.loads(json.dumps(members).replace('"{index}"', "0"))

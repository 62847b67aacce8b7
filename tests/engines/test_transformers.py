"""The engine transformers says what the library says, token for token, whatever else is decoded beside it.

Its cache is small, so that requests wait for room, and some that grow out of it are put off and taken up again. The
library's own answers are made by `library/generate.py`, with the engine's interpreter, in float32.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .harness import Engine, until
from .roster.transformers import subjects
from .subject import PROMPT, WORD

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
LIBRARY = Path(__file__).parent / "library"
(SUBJECT,) = subjects()
pytestmark = [*SUBJECT.marks(), pytest.mark.timeout(600)]  # the library needs its time on a busy machine

MOST, LONG = 12, 24  # tokens of an answer
ROOM = {"max_model_len": 192, "num_blocks": 16, "page_size": 16}  # for four answers or so
MARK, ENDING = 4, 5  # special tokens; the definition says that the second ends an answer
BEGINNING = (
    "Here is a list of countries, and of the cities from which they are governed, each on a line.\nSpain: Madrid\n"
)
ENDLESS = {"max_tokens": 180, "ignore_eos": True, "temperature": 0}
STORY = "Once upon a time there was a"
SONG = "Song: la la la la la la"
ADD = [{"role": "user", "content": "What is 2+3?"}]
SAMPLED = {"do_sample": True, "temperature": 0.9, "top_k": 0}
# What each request asks of the engine, and the same in the library's words.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "capital": ({"prompt": PROMPT}, {"prompt": PROMPT}),
    "story": ({"prompt": STORY, "max_tokens": LONG}, {"prompt": STORY, "limit": LONG}),
    "code": ({"prompt": "def fibonacci(n):"}, {"prompt": "def fibonacci(n):"}),
    "chat": ({"messages": ADD}, {"messages": ADD}),
    "conversation": (
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]},
    ),
    "repetition_penalty": (
        {"prompt": STORY, "repetition_penalty": 1.3},
        {"prompt": STORY, "settings": {"do_sample": False, "repetition_penalty": 1.3}},
    ),
    "presence_penalty": (
        {"prompt": STORY, "max_tokens": LONG, "presence_penalty": 2},
        {"prompt": STORY, "limit": LONG, "presence": 2},
    ),
    "song": ({"prompt": SONG}, {"prompt": SONG}),
    "frequency_penalty": ({"prompt": SONG, "frequency_penalty": 1.2}, {"prompt": SONG, "frequency": 1.2}),
    "logit_bias": (
        {"prompt": PROMPT, "logit_bias": {"7042": -100}},
        {"prompt": PROMPT, "settings": {"do_sample": False, "bad_words_ids": [[7042]]}},
    ),
    "temperature": (
        {"prompt": STORY, "temperature": 0.9, "seed": 11},
        {"prompt": STORY, "seed": 11, "settings": SAMPLED},
    ),
    "top_k": (
        {"prompt": STORY, "temperature": 0.9, "top_k": 5, "seed": 12},
        {"prompt": STORY, "seed": 12, "settings": {**SAMPLED, "top_k": 5}},
    ),
    "top_p": (
        {"prompt": STORY, "temperature": 0.9, "top_p": 0.6, "seed": 12},
        {"prompt": STORY, "seed": 12, "settings": {**SAMPLED, "top_p": 0.6}},
    ),
    "min_p": (
        {"prompt": STORY, "temperature": 0.9, "min_p": 0.2, "seed": 12},
        {"prompt": STORY, "seed": 12, "settings": {**SAMPLED, "min_p": 0.2}},
    ),
    "adapter": ({"model": "one", "prompt": PROMPT}, {"prompt": PROMPT, "adapter": "one"}),
    "narrowed by nothing": (
        {"prompt": STORY, "temperature": 0.9, "seed": 12},
        {"prompt": STORY, "seed": 12, "settings": SAMPLED},
    ),
    "long prompt": ({"prompt": BEGINNING}, {"prompt": BEGINNING}),
    "long prompt, adapter": ({"model": "one", "prompt": BEGINNING}, {"prompt": BEGINNING, "adapter": "one"}),
    "another adapter": ({"model": "two", "prompt": PROMPT}, {"prompt": PROMPT, "adapter": "two"}),
}


def run(script: str, *arguments: str, given: object = None) -> str:
    """What a script of `library/` prints, run by the engine's interpreter."""
    done = subprocess.run(
        [SUBJECT.python, str(LIBRARY / script), SUBJECT.weights, *arguments],
        input=json.dumps(given),
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the adapters `one` and `two`."""
    folder = tmp_path_factory.mktemp("adapters")
    run("adapter.py", str(folder), "one", "two")
    return folder


@pytest.fixture(scope="module")
def library(adapters: Path) -> dict[str, Any]:
    """The library's answer to each case, and the odds of the first token after the prompt."""
    questions = [*({"limit": MOST, **case[1]} for case in CASES.values()), {"prompt": PROMPT, "limit": 1, "odds": True}]
    answers = json.loads(run("generate.py", str(adapters), given=questions))
    return dict(zip([*CASES, "odds"], answers, strict=True))


@pytest.fixture(scope="module")
def engine(adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine with the adapters."""
    lora = [{"name": name, "path": str(adapters / name)} for name in ("one", "two")]
    subject = SUBJECT.but(launch={"lora": lora}, options=ROOM, definition={"stop_token_ids": [ENDING]})
    with Engine(subject, tmp_path_factory.mktemp("engine")) as started:
        started.wait_ready()
        yield started


def say(engine: Engine, **body: Any) -> str:
    """The text of an answer, greedy unless the body says otherwise."""
    path = CHAT if "messages" in body else TEXT
    choice = engine.post(path, **{"max_tokens": MOST, "temperature": 0, **body})["choices"][0]
    return choice["text"] if path == TEXT else choice["message"]["content"]


def pieces(engine: Engine, **body: Any) -> list[str]:
    """The texts of a stream's events."""
    path = CHAT if "messages" in body else TEXT
    *events, last = engine.stream(path, **{"max_tokens": MOST, "temperature": 0, **body})
    assert last == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return [choice["text"] if path == TEXT else choice["delta"].get("content") or "" for choice in choices]


# The same as the library


@pytest.fixture(scope="module")
def together(engine: Engine) -> dict[str, str]:
    """The answers to all cases at once: greedy and sampled ones, penalties, and adapters in the same batch."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        return dict(zip(CASES, pool.map(lambda case: say(engine, **case[0]), CASES.values()), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_an_answer_is_what_the_library_says(library: dict[str, Any], together: dict[str, str], case: str) -> None:
    assert together[case] == library[case]["text"]


@pytest.mark.parametrize("case", CASES)
def test_an_answer_that_is_made_alone_is_the_same(
    engine: Engine, library: dict[str, Any], case: str, request: pytest.FixtureRequest
) -> None:
    """What one adapter has read of a prompt is of no use to another, nor to the model by itself."""
    if case not in ("capital", "adapter", "long prompt", "long prompt, adapter") and not request.config.getoption(
        "--long"
    ):
        pytest.skip("they are asked together; one by one: --long")
    assert say(engine, **CASES[case][0]) == library[case]["text"]


def test_the_cases_differ_where_they_should(library: dict[str, Any]) -> None:
    """Else a parameter that is ignored would pass."""
    for plain, steered in {
        "story": ("repetition_penalty", "presence_penalty", "temperature"),
        "song": ("frequency_penalty",),
        "capital": ("logit_bias", "adapter", "another adapter"),
        "adapter": ("another adapter",),
        "long prompt": ("long prompt, adapter",),
        "narrowed by nothing": ("top_k", "top_p", "min_p"),
    }.items():
        for case in steered:
            assert library[case]["ids"] != library[plain]["ids"][: len(library[case]["ids"])], case


def test_a_temperature_next_to_nothing_takes_the_likeliest_token(engine: Engine, library: dict[str, Any]) -> None:
    """Where dividing by it would be too much for the numbers."""
    assert library["capital"]["text"].startswith(say(engine, prompt=PROMPT, temperature=1e-40, max_tokens=4))


def test_tokens_are_the_librarys_tokens(engine: Engine, library: dict[str, Any]) -> None:
    body = {"prompt": STORY, "max_tokens": LONG, "temperature": 0, "logprobs": 0, "skip_special_tokens": False}
    told = engine.post(TEXT, **body)["choices"][0]["logprobs"]["tokens"]
    assert len(told) == len(library["story"]["ids"])
    assert "".join(told) == library["story"]["text"]


def test_log_probabilities_are_those_of_the_librarys_logits(engine: Engine, library: dict[str, Any]) -> None:
    """Raw ones: no temperature and no penalty changes them."""
    body = {"prompt": PROMPT, "max_tokens": 1, "logprobs": 5, "temperature": 0}
    expected = [value for _, value in library["odds"]["odds"]]
    for steered in ({}, {"repetition_penalty": 1.5}, {"temperature": 0.3, "seed": 1}):
        odds = engine.post(TEXT, **{**body, **steered})["choices"][0]["logprobs"]
        assert sorted(odds["top_logprobs"][0].values(), reverse=True) == pytest.approx(expected, abs=1e-3)
    assert engine.post(TEXT, **body)["choices"][0]["logprobs"]["token_logprobs"][0] == pytest.approx(
        expected[0], abs=1e-3
    )


# Decoded together


def test_requests_share_the_steps_of_the_model(engine: Engine) -> None:
    """While one long answer is being made, others begin and end."""
    long = engine.stream(TEXT, prompt=STORY, **ENDLESS)
    next(long)
    assert [say(engine, prompt=PROMPT, max_tokens=4) for _ in range(2)]
    assert engine.busy() == 1
    assert next(long)
    long.close()


def test_clients_that_leave_while_they_wait_for_room_leave_nothing_behind(engine: Engine) -> None:
    body = {"model": "served", "prompt": "la " * 100, **ENDLESS, "max_tokens": 80}
    connections = [engine.send("POST", TEXT, body) for _ in range(6)]
    until(lambda: waiting(engine) and engine.busy(), "some are under way, and some wait")
    for connection in connections:
        connection.close()
    until(lambda: not waiting(engine) and not engine.busy(), "all of their work ended")
    assert WORD in say(engine, prompt=PROMPT, max_tokens=2)


def waiting(engine: Engine) -> int:
    """Requests that wait for their first step."""
    _, metrics = engine.ask("GET", "/metrics")
    (line,) = [line for line in metrics.decode().splitlines() if line.startswith("transformers_requests_waiting ")]
    return int(line.split()[1])


@pytest.mark.parametrize("prompt", [190, 191])
def test_a_request_may_use_all_of_its_length(engine: Engine, prompt: int) -> None:
    """And no more: see what is refused."""
    body = {"prompt": [30] * prompt, "max_tokens": 192 - prompt, "ignore_eos": True, "temperature": 0}
    answer = engine.post(TEXT, **body)
    assert answer["usage"]["total_tokens"] == 192
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_chat_without_a_limit_ends_where_its_length_does(engine: Engine) -> None:
    answer = engine.post(CHAT, messages=[{"role": "user", "content": "la " * 150}], ignore_eos=True, temperature=0)
    assert answer["usage"]["total_tokens"] == 192
    assert answer["choices"][0]["finish_reason"] == "length"


# Ends


@pytest.mark.parametrize("words", [(0, 3), (2, 5)])
def test_nothing_of_a_stop_string_is_shown(engine: Engine, library: dict[str, Any], words: tuple[int, int]) -> None:
    """Wherever it lies across tokens, streamed or not."""
    text = library["story"]["text"]
    begin, end = (3 * place + 1 for place in words)
    stop = text[begin:end]
    body = {"prompt": STORY, "max_tokens": LONG, "stop": ["never said", stop]}
    assert say(engine, **body) == "".join(pieces(engine, **body)) == text[: text.index(stop)]


def test_a_stop_string_that_only_begins_is_shown(engine: Engine, library: dict[str, Any]) -> None:
    text = library["capital"]["text"]
    assert "".join(pieces(engine, prompt=PROMPT, stop=[text[-3:] + "~"])) == text


def test_a_stop_token_ends_the_answer_before_it(engine: Engine, library: dict[str, Any]) -> None:
    ids = library["story"]["ids"]
    body = {"prompt": STORY, "max_tokens": LONG, "temperature": 0, "stop_token_ids": [ids[6]]}
    answer = engine.post(TEXT, **body)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == ids.index(ids[6]) + 1
    assert library["story"]["text"].startswith(answer["choices"][0]["text"])


@pytest.mark.parametrize(
    ("own", "finish"), [({}, "stop"), ({"stop": "~~"}, "length"), ({"stop_token_ids": []}, "length")]
)
def test_the_definitions_stop_token_holds_where_a_request_has_no_stop_of_its_own(
    engine: Engine, own: dict[str, Any], finish: str
) -> None:
    body = {"prompt": PROMPT, "temperature": 0, "logit_bias": {str(ENDING): 100}, "max_tokens": 2}
    assert engine.post(TEXT, **body, **own)["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_kept(engine: Engine, name: str) -> None:
    answer = engine.post(CHAT, messages=ADD, temperature=0, **{name: 3})
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "length"


def test_an_answer_ends_with_the_models_own_end(engine: Engine) -> None:
    answer = engine.post(CHAT, messages=ADD, temperature=0)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert "<|im_end|>" not in answer["choices"][0]["message"]["content"]


# Choices, prompts, seeds


def test_a_seed_gives_the_same_again_and_another_seed_does_not(engine: Engine) -> None:
    body = {"prompt": STORY, "temperature": 1, "max_tokens": 6}
    assert say(engine, **body, seed=1) == say(engine, **body, seed=1) != say(engine, **body, seed=2)


def test_without_a_seed_answers_differ(engine: Engine) -> None:
    assert len({say(engine, prompt=STORY, temperature=1, max_tokens=4) for _ in range(3)}) > 1


def test_several_choices_are_drawn_differently(engine: Engine) -> None:
    answer = engine.post(TEXT, prompt=STORY, temperature=1, n=3, max_tokens=6, seed=5)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["text"] for choice in answer["choices"]}) == 3
    alone = engine.post(TEXT, prompt=STORY, temperature=1, max_tokens=6, seed=5)
    assert answer["choices"][0]["text"] == alone["choices"][0]["text"]
    assert answer["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]


def test_streamed_choices_are_told_apart(engine: Engine) -> None:
    body = {"messages": ADD, "temperature": 1, "n": 2, "max_tokens": 6, "seed": 5}
    whole = engine.post(CHAT, **body)["choices"]
    said = {0: "", 1: ""}
    for data in engine.stream(CHAT, **body):
        for choice in json.loads(data)["choices"] if data != "[DONE]" else ():
            said[choice["index"]] += choice["delta"].get("content") or ""
    assert said == {choice["index"]: choice["message"]["content"] for choice in whole}


def test_a_prompt_may_be_texts_or_token_ids(engine: Engine, library: dict[str, Any]) -> None:
    answer = engine.post(TEXT, prompt=[PROMPT, STORY], temperature=0, max_tokens=4)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    texts = [choice["text"] for choice in answer["choices"]]
    assert library["capital"]["text"].startswith(texts[0])
    assert library["story"]["text"].startswith(texts[1])
    ids = library["story"]["ids"]
    assert say(engine, prompt=ids, max_tokens=3) == say(engine, prompt=[ids], max_tokens=3)


def test_log_probabilities_of_a_chat_name_the_alternatives(engine: Engine) -> None:
    body = {"messages": ADD, "temperature": 0, "max_tokens": 4, "logprobs": True, "top_logprobs": 2}
    choice = engine.post(CHAT, **body)["choices"][0]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    for entry in entries:
        assert entry["logprob"] == entry["top_logprobs"][0]["logprob"] >= entry["top_logprobs"][1]["logprob"]
        assert bytes(entry["bytes"]).decode() == entry["token"]
    streamed = [json.loads(data)["choices"][0] for data in list(engine.stream(CHAT, **body))[:-1]]
    told = [entry for choice in streamed if choice["logprobs"] for entry in choice["logprobs"]["content"]]
    assert [entry["token"] for entry in told] == [entry["token"] for entry in entries]


# JSON, tools


def test_an_answer_follows_a_schema_even_when_drawn_wildly(engine: Engine) -> None:
    properties = {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 120}}
    schema = {"type": "object", "properties": properties, "required": ["name", "age"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    body = {"messages": [{"role": "user", "content": "A person."}], "response_format": form, "temperature": 1.5}
    person = json.loads(say(engine, **body, seed=3, max_tokens=100))
    assert person.keys() == {"name", "age"}
    assert 0 <= person["age"] <= 120


def test_characters_that_span_tokens_are_shown_whole(engine: Engine) -> None:
    word = "naïve 😀 漢字"
    form = {"type": "json_schema", "json_schema": {"schema": {"const": word}}}
    body = {"messages": ADD, "response_format": form, "max_tokens": 60}
    parts = pieces(engine, **body)
    assert json.loads("".join(parts)) == word
    assert not any("\ufffd" in part for part in parts)


def test_a_tool_that_is_demanded_by_its_name_is_called(engine: Engine) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    city = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    closed = {**city, "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": closed}}]
    body = {"messages": [{"role": "user", "content": "Weather in Rome?"}], "tools": tools, "tool_choice": choice}
    answer = engine.post(CHAT, **body, temperature=0, max_tokens=80, parallel_tool_calls=False)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    (call,) = answer["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "Rome")


@pytest.mark.parametrize(("tools", "shown"), [([], False), ([{"type": "function", "function": {"name": "f"}}], True)])
def test_special_tokens_are_shown_where_they_may_mark_a_call(engine: Engine, tools: list[Any], shown: bool) -> None:
    body = {"messages": ADD, "tools": tools, "logit_bias": {str(MARK): 100}, "max_tokens": 1}
    assert bool(say(engine, **body)) == shown


# What is refused


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"prompt": STORY, "temperature": -1}, "temperature"),
        ({"prompt": STORY, "temperature": "hot"}, "temperature"),
        ({"prompt": STORY, "top_p": 0}, "top_p"),
        ({"prompt": STORY, "n": 0}, "n "),
        ({"prompt": STORY, "max_tokens": 0}, "max_tokens"),
        ({"prompt": STORY, "logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"prompt": STORY, "logit_bias": {"word": 1}}, "logit_bias"),
        ({"prompt": STORY, "stop": [1]}, "stop"),
        ({"prompt": STORY, "echo": True}, "echo"),
        ({"prompt": STORY, "best_of": 2}, "best_of"),
        ({"prompt": STORY, "logprobs": 21}, "logprobs"),
        ({"prompt": STORY, "response_format": {"type": "poem"}}, "response_format"),
        (
            {"prompt": STORY, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
            "schema",
        ),
        ({"prompt": [99999999]}, "token ids"),
        ({"prompt": ""}, "empty"),
        ({}, "prompt"),
        ({"prompt": [30] * 192}, "192 tokens and asks for 16 more"),
        ({"prompt": [30] * 180, "max_tokens": 13}, "a request may use 192 in all"),
        ({"messages": [{"role": "user", "content": "word " * 300}]}, "leaves none for an answer"),
        ({"messages": []}, "messages"),
        ({"messages": ADD, "top_logprobs": 2}, "logprobs: true"),
        ({"messages": ADD, "tools": [{}]}, "tools"),
        ({"messages": ADD, "chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
        ({"messages": ADD, "enable_thinking": "no"}, "enable_thinking"),
        ({"messages": ADD, "tools": [], "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_cannot_be_done_is_told(engine: Engine, body: dict[str, Any], hint: str) -> None:
    status, answer = engine.ask("POST", CHAT if "messages" in body else TEXT, {"model": "served", **body})
    assert status == 400, answer
    assert hint in json.loads(answer)["error"]["message"]
    assert engine.busy() == 0

"""The contract of engines/README.md, held against every engine, backend and model type."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from .conftest import Starter
from .harness import Engine, until
from .sounds import form, noise
from .subject import PROMPT, WORD, Subject

JSON = "application/json"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
IMAGES = "/v1/images/generations"
SAY = {"messages": [{"role": "user", "content": "What is 2+3?"}], "temperature": 0}
LEFT = (0, 143, -signal.SIGTERM)  # exit codes after SIGTERM


def complete(engine: Engine, **body: Any) -> Any:
    """The one choice of a completion of the prompt."""
    answer = engine.post(TEXT, prompt=engine.subject.prompt, **{"max_tokens": 8, "temperature": 0, **body})
    return answer["choices"][0]


# Answers


def test_the_probe_is_answered(engine: Engine) -> None:
    assert engine.probe() == 200


def test_a_path_of_another_type_is_an_error_in_openais_shape(engine: Engine) -> None:
    path = "/v1/rerank" if engine.subject.type == "LLM" else CHAT
    status, answer = engine.ask("POST", path, {"query": "a", "documents": ["b"], **SAY})
    assert 400 <= status < 600
    assert json.loads(answer)["error"]["message"]


def test_a_body_that_is_no_json_is_refused_as_the_clients_fault(engine: Engine) -> None:
    path = engine.path
    status, answer = engine.ask("POST", path, b'{"model"')
    assert status == 400
    assert json.loads(answer)["error"]["message"]


def test_metrics_are_prometheus_text(engine: Engine) -> None:
    assert engine.busy() == 0


def test_only_its_user_can_reach_the_socket(engine: Engine) -> None:
    assert Path(engine.socket).stat().st_mode & 0o077 == 0


@pytest.mark.types("LLM")
def test_answers_bear_the_served_name_and_count_tokens(engine: Engine) -> None:
    answer = engine.post(CHAT, **SAY, max_tokens=8)
    assert answer["model"] == "served"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


@pytest.mark.types("LLM")
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stream_says_what_the_whole_answer_says(engine: Engine, path: str) -> None:
    body = {**SAY, "max_tokens": 12} if path == CHAT else {"prompt": PROMPT, "max_tokens": 5, "temperature": 0}
    whole = engine.post(path, **body)["choices"][0]
    *events, last = engine.stream(path, **body)
    assert last == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    pieces = [choice["delta"].get("content") if path == CHAT else choice["text"] for choice in choices]
    assert "".join(filter(None, pieces)) == (whole["message"]["content"] if path == CHAT else whole["text"])
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == [whole["finish_reason"]]


@pytest.mark.types("LLM")
def test_usage_is_streamed_if_it_is_asked_for(engine: Engine) -> None:
    *_, usage, done = engine.stream(CHAT, **SAY, max_tokens=8, stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert json.loads(usage)["choices"] == []
    assert json.loads(usage)["usage"]["completion_tokens"] > 0


@pytest.mark.types("LLM")
def test_a_requests_stop_string_ends_the_answer_before_it(engine: Engine) -> None:
    assert WORD in complete(engine)["text"]
    choice = complete(engine, stop=[WORD])
    assert WORD not in choice["text"]
    assert choice["finish_reason"] == "stop"


@pytest.mark.types("embedding")
def test_embeddings_have_the_length_one_and_the_order_of_the_texts(engine: Engine) -> None:
    answer = engine.post("/v1/embeddings", input=["one", "two", "one"])
    vectors = [entry["embedding"] for entry in sorted(answer["data"], key=lambda entry: entry["index"])]
    assert answer["model"] == "served"
    assert [sum(number**2 for number in vector) for vector in vectors] == pytest.approx([1, 1, 1], abs=1e-4)
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-4)
    assert vectors[0] != pytest.approx(vectors[1], abs=1e-4)


@pytest.mark.types("rerank")
def test_a_ranking_gives_probabilities_best_first(engine: Engine) -> None:
    documents = ["a cat is an animal", "stocks fell today", "the weather in Rome"]
    answer = engine.post("/v1/rerank", query="what is a cat", documents=documents)
    scores = [result["relevance_score"] for result in answer["results"]]
    assert sorted(result["index"] for result in answer["results"]) == [0, 1, 2]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.types("rerank")
def test_a_ranking_gives_as_many_as_wanted_and_the_documents_on_demand(engine: Engine) -> None:
    documents = ["cat", "dog", "bird"]
    answer = engine.post("/v1/rerank", query="cat", documents=documents, top_n=2, return_documents=True)
    assert len(answer["results"]) == 2
    for result in answer["results"]:
        assert result["document"] == {"text": documents[result["index"]]}


@pytest.mark.types("flexible")
def test_a_call_is_answered_in_json_and_alike_every_time(engine: Engine) -> None:
    call = engine.subject.options.get("probe") or {"args": ["hi"]}
    first, second = (engine.post("/v1/flexible/infers", **call) for _ in range(2))
    assert first == second


@pytest.mark.types("image")
def test_images_come_as_files_as_many_as_wanted_and_alike_for_one_seed(engine: Engine) -> None:
    asked = {"prompt": "a red square", "n": 2, "size": "64x64", "num_inference_steps": 2}
    one, again, other = (_images(engine.post(IMAGES, **asked, seed=seed)) for seed in (1, 1, 3))
    assert one == again
    assert len({*one, *other}) == 4


def _images(answer: Any) -> list[bytes]:
    assert answer["created"] > 0
    files = [base64.b64decode(item["b64_json"], validate=True) for item in answer["data"]]
    assert all(file.startswith(b"\x89PNG") for file in files)
    return files


@pytest.mark.types("image")
def test_work_on_an_image_ends_when_its_client_leaves(engine: Engine) -> None:
    connection = engine.send("POST", IMAGES, {"model": "served", "prompt": "a red square", **engine.subject.silent})
    until(lambda: engine.busy() == 1, "the work began")
    connection.close()
    until(lambda: engine.busy() == 0, "the departed client's work ended")


# Concurrency and cancels


@pytest.mark.types("LLM")
def test_four_streams_advance_together(engine: Engine) -> None:
    if not engine.subject.batches:
        pytest.skip("this backend does not batch: requests queue")
    streams = [engine.stream(TEXT, prompt=engine.subject.prompt, **engine.subject.endless) for _ in range(4)]
    try:
        for _ in range(3):  # if one had to end before the next began, this would never come back
            assert all(json.loads(next(stream))["choices"] for stream in streams)
    finally:
        for stream in streams:
            stream.close()
    until(lambda: engine.busy() == 0, "the departed streams ended")


@pytest.mark.types("LLM")
def test_work_ends_when_the_client_leaves_in_the_middle_of_a_stream(engine: Engine) -> None:
    stream = engine.stream(TEXT, prompt=engine.subject.prompt, **engine.subject.endless)
    next(stream)
    assert engine.busy() == 1
    stream.close()
    until(lambda: engine.busy() == 0, "the departed client's work ended", 30)


@pytest.mark.types("LLM")
@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("window", ["silent", "endless"])
def test_work_ends_when_the_client_leaves_before_an_answer(engine: Engine, window: str, streamed: bool) -> None:
    """Before the first byte of a stream, and while a whole answer is being read or made."""
    if streamed and window == "endless":
        pytest.skip("that is the middle of a stream")
    body = {"prompt": engine.subject.prompt, **getattr(engine.subject, window), "stream": streamed}
    connection = engine.send("POST", TEXT, {"model": "served", **body})
    until(lambda: engine.busy() == 1, "the work began")
    before = engine.departures()
    connection.close()
    engine.wait_idle(before)


@pytest.mark.types("audio")
def test_work_on_sound_ends_when_the_client_leaves(engine: Engine) -> None:
    silent = engine.subject.silent
    body, kind = form(noise(300), **{name: json.dumps(value) for name, value in silent.items()})
    if engine.path == "/v1/audio/speech":
        body, kind = json.dumps({"input": "She walked along the river. " * 140, **silent}).encode(), JSON
    with contextlib.closing(engine.send("POST", engine.path, body, kind)):
        until(lambda: engine.busy() == 1, "the work began")
    until(lambda: engine.busy() == 0, "the departed client's work ended")
    assert engine.probe() == 200


@pytest.mark.types("LLM")
def test_an_answer_comes_after_many_have_left(engine: Engine) -> None:
    for _ in range(6):
        stream = engine.stream(TEXT, prompt=engine.subject.prompt, **engine.subject.endless)
        next(stream)
        stream.close()
    assert WORD in complete(engine)["text"]


# Definitions


@pytest.mark.types("LLM")
@pytest.mark.parametrize("declared", ["stop", "stop_token_ids"])
def test_the_definitions_stops_hold_for_requests_without_their_own(
    subject: Subject, start: Starter, declared: str
) -> None:
    value: list[Any] = [WORD] if declared == "stop" else [subject.word_id]
    engine = start(subject, definition={declared: value})
    engine.wait_ready()
    choice = complete(engine, **engine.request_defaults)
    assert WORD not in choice["text"]
    assert choice["finish_reason"] == "stop"


# Its end


def test_nothing_is_left_after_sigterm(subject: Subject, start: Starter) -> None:
    engine = start(subject)
    engine.wait_ready()
    engine.process.terminate()
    assert engine.end() in LEFT
    until(lambda: not engine.session(), "all of its session is gone")


@pytest.mark.types("LLM")
def test_sigterm_ends_it_in_the_middle_of_its_work(subject: Subject, start: Starter) -> None:
    engine = start(subject)
    engine.wait_ready()
    stream = engine.stream(TEXT, prompt=subject.prompt, **subject.endless)
    next(stream)
    engine.process.terminate()
    assert engine.end() in LEFT
    rest: list[str] = []
    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        rest.extend(stream)
    assert "[DONE]" not in rest  # cut, not ended as if it were whole
    until(lambda: not engine.session(), "all of its session is gone")


def test_sigterm_ends_it_while_it_loads(subject: Subject, start: Starter) -> None:
    engine = start(subject, options=subject.slow_load)
    until(engine.text, "it said that it begins")
    engine.process.terminate()
    assert engine.end() in LEFT
    until(lambda: not engine.session(), "all of its session is gone")


def test_a_socket_left_by_a_killed_one_can_be_used_again(subject: Subject, start: Starter) -> None:
    engine = start(subject)
    engine.wait_ready()
    engine.process.kill()
    engine.end()
    assert Path(engine.socket).exists()
    engine.process = engine._spawn()
    engine.wait_ready()


def test_health_never_answers_before_the_model_does(subject: Subject, start: Starter) -> None:
    engine = start(subject)
    engine.wait_ready()
    assert engine.probe() == 200


# Never


def refused(engine: Engine) -> str:
    """The last line of an engine that says it can never start."""
    assert engine.end() in engine.manifest.never_start, engine.text()
    return engine.text().splitlines()[-1]


def test_an_unknown_option_is_refused_by_name(subject: Subject, start: Starter) -> None:
    assert "no_such_option" in refused(start(subject, options={"no_such_option": 1}))


def test_missing_weights_are_refused_with_their_path(subject: Subject, start: Starter) -> None:
    assert "/no/such/weights" in refused(start(subject, weights="/no/such/weights"))


def test_it_prints_to_the_end_of_its_log(subject: Subject, start: Starter) -> None:
    """Output is not held back: what is said at the start can be read while it runs."""
    engine = start(subject)
    engine.wait_ready()
    assert engine.text()


def test_clients_that_say_nothing_hold_up_nobody(engine: Engine) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(8):
            connection = silent.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(engine.socket)
        answered = threading.Event()
        threading.Thread(target=lambda: engine.healthy() and answered.set(), daemon=True).start()
        assert answered.wait(30)

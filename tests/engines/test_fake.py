"""Every misbehaviour of the fake really happens, so that a test which relies on it proves something."""

from __future__ import annotations

import http.client
import json
import os
import signal
from typing import Any

import pytest

from .conftest import Starter
from .harness import Engine, until
from .roster.fake import subjects

CHAT = "/v1/chat/completions"
LLM = subjects()[0]
HELLO = [{"role": "user", "content": "one two three"}]


def ready(start: Starter, **options: Any) -> Engine:
    engine = start(LLM, options=options)
    engine.wait_ready()
    return engine


def state(engine: Engine) -> Any:
    return json.loads(engine.ask("GET", "/fake/state")[1])


def test_it_answers_its_question(start: Starter) -> None:
    answer = ready(start).post(CHAT, messages=HELLO)
    assert answer["choices"][0]["message"]["content"] == "fake: one two three"


def test_health_is_503_while_it_loads(start: Starter) -> None:
    engine = start(LLM, options={"load": 3600})
    until(lambda: "serving" in engine.text(), "it listens")
    assert engine.ask("GET", "/health")[0] == 503


def test_it_leaves_with_the_code_it_was_told(start: Starter) -> None:
    assert start(LLM, options={"exit_code": 7}).end() == 7


def test_it_crashes_after_enough_requests(start: Starter) -> None:
    engine = ready(start, crash_after=2)
    engine.post(CHAT, messages=HELLO)
    assert engine.process.poll() is None
    engine.ask("POST", CHAT, {"messages": HELLO})
    assert engine.end() == 1


def test_it_crashes_in_the_middle_of_an_answer(start: Starter) -> None:
    engine = ready(start, crash_at=2)
    assert [json.loads(event)["choices"][0]["delta"]["content"] for event in engine.stream(CHAT, messages=HELLO)] == [
        "fake:",
        " one",
    ]
    assert engine.end() == 1


def test_it_ignores_sigterm(start: Starter) -> None:
    engine = ready(start, ignore_sigterm=True)
    engine.process.terminate()
    assert engine.healthy()
    assert engine.process.poll() is None


def test_its_children_leave_its_session_and_outlive_it(start: Starter) -> None:
    engine = ready(start, leak_children=1)
    children = [pid for pid in _processes() if _mentions(pid, engine.socket) and pid != engine.process.pid]
    engine.process.terminate()
    engine.end()
    try:
        assert len(children) == 1
        assert os.getsid(children[0]) != engine.process.pid
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _mentions(pid: int, text: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return text.encode() in file.read()
    except OSError:
        return False


@pytest.mark.parametrize(("kind", "lines"), [("lines", True), ("endless", False)])
def test_it_floods_its_log(start: Starter, kind: str, lines: bool) -> None:
    engine = ready(start, flood_log=kind)
    until(lambda: engine.log.stat().st_size > 1 << 20, "a megabyte of log")
    engine.kill()
    with engine.log.open("rb") as log:
        assert (b"x\n" in log.read(1 << 20)) is lines


def whole_stream(engine: Engine) -> None:
    """Read a stream as a strict client does."""
    *events, last = engine.stream(CHAT, messages=HELLO)
    for event in events:
        json.loads(event)
    assert last == "[DONE]"


@pytest.mark.parametrize("how", ["head", "chunk", "json", "cut"])
def test_its_stream_is_broken_as_told(start: Starter, how: str) -> None:
    engine = ready(start, bad_stream=how)
    with pytest.raises((http.client.HTTPException, ConnectionError, ValueError, AssertionError)):
        whole_stream(engine)


def test_its_health_hangs_and_recovers_while_it_runs(start: Starter) -> None:
    engine = ready(start)
    assert engine.ask("POST", "/fake/options", {"health": "error"})[0] == 200
    assert engine.ask("GET", "/health")[0] == 500
    engine.ask("POST", "/fake/options", {"health": "hang"})
    waiting = engine.send("GET", "/health")
    engine.ask("POST", "/fake/options", {"health": "ok"})
    assert engine.healthy()
    waiting.close()


def test_it_works_on_as_many_at_once_as_told(start: Starter) -> None:
    """With one place, a second request waits for as long as the first one lasts."""
    engine = ready(start, concurrency=1)
    stream = engine.stream(CHAT, messages=HELLO, **LLM.endless)
    next(stream)
    waiting = engine.send("POST", CHAT, {"messages": HELLO})
    until(lambda: state(engine)["in_flight"] == 2, "both are there")
    assert state(engine)["finished"] == 0
    stream.close()
    assert waiting.getresponse().status == 200
    waiting.close()


def test_it_counts_what_it_saw(start: Starter) -> None:
    engine = ready(start)
    engine.post(CHAT, messages=HELLO)
    stream = engine.stream(CHAT, messages=HELLO, **LLM.endless)
    next(stream)
    stream.close()
    until(lambda: state(engine)["aborted"] == 1, "it noticed")
    assert state(engine) == {"started": 2, "finished": 1, "aborted": 1, "in_flight": 0, "last_path": CHAT}


def test_it_keeps_the_last_body_byte_for_byte(start: Starter) -> None:
    engine = ready(start)
    body = b'{ "messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}],"x": 1.50 }'
    assert engine.ask("POST", CHAT, body)[0] == 200
    assert engine.ask("GET", "/fake/body")[1] == body


def test_a_request_may_bring_its_own_behaviour(start: Starter) -> None:
    engine = ready(start)
    assert engine.ask("POST", CHAT, {"messages": HELLO, "fake": {"status": 500}})[0] == 500
    assert engine.ask("POST", CHAT, {"messages": HELLO, "fake": {"tokens": "many"}})[0] == 400
    assert engine.ask("POST", CHAT, {"messages": HELLO})[0] == 200

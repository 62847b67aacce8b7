"""`chat` and `generate`: streamed, whole, piped, typed."""

from __future__ import annotations

import builtins
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from .scripted import Answer, Outcome, Script

Xserve = Callable[..., Outcome]
CHAT = ("POST", "/v1/chat/completions")
GENERATE = ("POST", "/v1/completions")
DONE = b"data: [DONE]\n\n"


def piece(**choice: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def stream(*texts: str) -> Answer:
    """A streamed chat answer, with the empty chunks that real servers send."""
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n'
    pieces = (piece(delta={"content": text}) for text in texts)
    return Answer(pieces=(piece(delta={"role": "assistant", "content": None}), *pieces, usage, DONE))


def whole(text: str) -> dict[str, Any]:
    """A chat answer in one piece."""
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What comes on stdin."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_prompt_on_the_command_line_is_answered_as_a_stream(script: Script, xserve: Xserve) -> None:
    script.on(*CHAT, stream("2+3", " is 5"))
    assert xserve("chat", "demo", "What is 2+3?", "--temperature", "0") == Outcome(0, "2+3 is 5\n", "")
    assert script.requests[0].body == {
        "model": "demo",
        "max_tokens": 512,
        "temperature": 0.0,
        "messages": [{"role": "user", "content": "What is 2+3?"}],
        "stream": True,
    }


def test_generate_continues_a_text(script: Script, xserve: Xserve) -> None:
    script.on(*GENERATE, Answer(pieces=(piece(text=" Par"), piece(text="is"), DONE)))
    assert xserve("generate", "-u", "demo", "The capital is", "--max_tokens", "8").out == " Paris\n"
    body = script.requests[0].body
    assert (body["model"], body["prompt"], body["max_tokens"]) == ("demo", "The capital is", 8)


def test_all_of_stdin_is_one_prompt(script: Script, xserve: Xserve, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "one\ntwo\n")
    script.on(*CHAT, stream("ok"))
    assert xserve("chat", "demo").code == 0
    assert script.requests[0].body["messages"][0]["content"] == "one\ntwo"


def test_each_line_is_a_turn_that_knows_what_was_said(
    script: Script, xserve: Xserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, "hi\n\nbye\n")
    script.on(*CHAT, stream("hello"), whole("so long"))
    script.on(*CHAT, stream("hello"), stream("so long"))
    assert xserve("chat", "demo", "--lines").out == "hello\nso long\n"
    assert script.requests[1].body["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "bye"},
    ]


def test_a_person_types_until_the_end_of_input(script: Script, xserve: Xserve, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["hi", "   "])

    def typed(_: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(builtins, "input", typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    script.on(*CHAT, stream("hello"))
    ended = xserve("chat", "demo")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "hello")
    assert len(script.requests) == 1


def test_without_a_stream(script: Script, xserve: Xserve) -> None:
    script.on(*CHAT, whole("5"))
    assert xserve("chat", "demo", "2+3?", "--stream", "false").out == "5\n"
    assert "stream" not in script.requests[0].body


def test_json_is_the_whole_answer(script: Script, xserve: Xserve, monkeypatch: pytest.MonkeyPatch) -> None:
    script.on(*CHAT, whole("5"))
    assert json.loads(xserve("chat", "demo", "2+3?", "--json").out) == whole("5")
    pipe(monkeypatch, "a\nb\n")
    assert json.loads(xserve("chat", "demo", "--lines", "--json").out) == [whole("5"), whole("5")]


def test_reasoning_does_not_mix_with_the_answer(script: Script, xserve: Xserve) -> None:
    script.on(*CHAT, Answer(pieces=(piece(delta={"reasoning_content": "hm"}), piece(delta={"content": "5"}), DONE)))
    assert xserve("chat", "demo", "2+3?") == Outcome(0, "5\n", "hm")


def test_an_error_in_the_stream_ends_it(script: Script, xserve: Xserve) -> None:
    error = b'data: {"error": {"message": "the engine died"}}\n\n'
    script.on(*CHAT, Answer(pieces=(piece(delta={"content": "5"}), error)))
    ended = xserve("chat", "demo", "2+3?")
    assert (ended.code, ended.out) == (1, "5")
    assert ended.err == "xserve: the answer broke off: the engine died\n"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b'data: {"error": "no memory"}\n\n', "no memory"),
        (b"data: {broken\n\n", "a piece of it is not JSON: {broken"),
        (b"data: 7\n\n", "7"),
    ],
)
def test_whatever_is_no_piece_of_an_answer_ends_it(script: Script, xserve: Xserve, sent: bytes, told: str) -> None:
    script.on(*CHAT, Answer(pieces=(sent, DONE)))
    ended = xserve("chat", "demo", "2+3?")
    assert (ended.code, ended.err) == (1, f"xserve: the answer broke off: {told}\n")


def test_a_stream_without_its_end_mark_is_no_answer(script: Script, xserve: Xserve) -> None:
    script.on(*CHAT, Answer(pieces=(piece(delta={"content": "5"}),)))
    assert xserve("chat", "demo", "2+3?").code == 1


@pytest.mark.parametrize("words", [[], ["demo", "a", "b"], ["demo", "--stream", "maybe"], ["demo"]])
def test_usage(xserve: Xserve, monkeypatch: pytest.MonkeyPatch, script: Script, words: list[str]) -> None:
    pipe(monkeypatch, "\n")
    assert xserve("chat", *words).code == 2
    assert script.requests == []

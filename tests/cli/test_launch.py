"""`launch`: the request that is sent, how the launch is followed, and what Ctrl-C does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xserve.cli import launch as module
from xserve.cli.command import CommandError
from xserve.cli.passthrough import engine_options, read_value

from . import views
from .scripted import Outcome, Script

Xserve = Callable[..., Outcome]
LAUNCH = ("POST", "/v1/models")
LOOK = ("GET", "/xserve/v1/models/chat")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause between two looks is for people."""
    monkeypatch.setattr(module, "_INTERVAL", 0.0)


@pytest.fixture
def launched(script: Script) -> Script:
    """A daemon that takes every launch and has the model ready at once."""
    script.on(*LAUNCH, {"model_uid": "chat"})
    script.on(*LOOK, views.model().model_dump(mode="json"))
    return script


def sent(script: Script) -> Any:
    """The body of the launch request."""
    return script.requests[0].body


def test_what_is_not_said_is_not_sent(launched: Script, xserve: Xserve) -> None:
    assert xserve("launch", "-n", "qwen") == Outcome(0, "chat\n", "")
    assert sent(launched) == {"model_name": "qwen"}
    assert launched.requests[0].query == {"wait_ready": ["false"]}


def test_every_option_of_xinference_finds_its_member(launched: Script, xserve: Xserve) -> None:
    words = "-n qwen -t LLM -u chat -en llama.cpp -s 0_5 -f ggufv2 -q q4 -r 2 --n-gpu 1 --gpu-idx 0,1 -mp /w -p"
    words += " -ev A 1 -ev B =x --n-worker 1 --worker-ip 10.0.0.1 --disable-virtual-env"
    assert xserve("launch", *words.split()).code == 0
    assert sent(launched) == {
        "model_name": "qwen",
        "model_type": "LLM",
        "model_uid": "chat",
        "model_engine": "llama.cpp",
        "model_size_in_billions": "0_5",
        "model_format": "ggufv2",
        "quantization": "q4",
        "replica": 2,
        "n_gpu": 1,
        "gpu_idx": [0, 1],
        "model_path": "/w",
        "persist": True,
        "envs": {"A": "1", "B": "=x"},
        "n_worker": 1,
        "worker_ip": "10.0.0.1",
    }


def test_long_options_may_be_spelt_with_underscores(launched: Script, xserve: Xserve) -> None:
    xserve("launch", "--model-name", "q", "--model_path", "/w", "--model_uid=chat", "--n_gpu", "none")
    assert sent(launched) == {"model_name": "q", "model_path": "/w", "model_uid": "chat", "n_gpu": None}


def test_every_other_pair_is_an_option_of_the_engine(launched: Script, xserve: Xserve) -> None:
    xserve("launch", "--n-ctx", "4096", "-n", "q", "--seed", "-1", "--flash_attn=true", "--model", "x", "--v", "a=b")
    assert sent(launched) == {
        "model_name": "q", "n_ctx": 4096, "seed": -1, "flash_attn": True, "model": "x", "v": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("-0.5", -0.5), ("1e3", 1000.0), ("true", True), ("False", False), ("null", None), ("None", None),
        ("auto", "auto"), ("0_5", "0_5"), ("007", "007"), ("[1]", "[1]"), ('{"a": 1}', '{"a": 1}'), ('"x"', '"x"'),
        ("NaN", "NaN"), ("Infinity", "Infinity"), ("", ""),
    ],
)  # fmt: skip
def test_values_are_read_as_json_where_they_are_numbers_truths_or_null(text: str, value: Any) -> None:
    read = read_value(text)
    assert (read, type(read)) == (value, type(value))


@given(st.text())
def test_every_text_is_a_value(text: str) -> None:
    assert isinstance(read_value(text), str | int | float | bool | None)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--flash-attn"], "--flash-attn has no value"),
        (["--flash-attn", "--n-ctx", "1"], "--flash-attn has no value"),
        (["stray"], "'stray' is not an option"),
        (["-x", "1"], "'-x' is not an option"),
        (["--a", "1", "--a", "2"], "--a is given twice"),
    ],
)
def test_pairs_that_are_none_are_usage_errors(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=f"^{sentence}") as caught:
        engine_options(words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "words",
    [["-lm", "n", "/p"], ["--lora-modules", "n", "/p"], ["-ld", "k", "v"], ["-fd", "k", "v"], ["-qc", "k", "v"],
     ["--enable-virtual-env"], ["-vp", "x"], ["--virtual-env-find-link", "/x"], ["--api-key", "k"], ["-ak", "k"]],
)  # fmt: skip
def test_options_of_later_releases_are_refused_not_ignored(xserve: Xserve, script: Script, words: list[str]) -> None:
    ended = xserve("launch", "-n", "q", *words)
    assert ended.code == 2
    assert f"{words[0]} is not supported yet: " in ended.err
    assert script.requests == []


@pytest.mark.parametrize("words", [["--n-gpu", "0"], ["--n-gpu", "all"], ["--gpu-idx", "a"], ["-t", "llm"], []])
def test_values_that_cannot_be_are_usage_errors(xserve: Xserve, words: list[str]) -> None:
    name = ["-n", "q"] if words else []
    assert xserve("launch", *name, *words).code == 2


def test_a_launch_is_followed_until_it_is_ready(script: Script, xserve: Xserve) -> None:
    script.on(*LAUNCH, {"model_uid": "chat"})
    slow, ready = (it.model_dump(mode="json") for it in (views.loading(), views.model()))
    script.on(*LOOK, slow, slow, ready)
    ended = xserve("launch", "-n", "q", "--json")
    assert (ended.code, json.loads(ended.out)) == (0, {"model_uid": "chat"})
    assert ended.err == "chat is starting: it loads its weights\n"


def test_a_launch_that_fails_says_why(script: Script, xserve: Xserve) -> None:
    script.on(*LAUNCH, {"model_uid": "chat"})
    script.on(*LOOK, views.failed().model_dump(mode="json"))
    sentence = "xserve: cannot launch chat: its launch failed: not a GGUF file\n  loading\n  magic is wrong\n"
    assert xserve("launch", "-n", "q") == Outcome(1, "", sentence)


def test_a_launch_that_somebody_ended(script: Script, xserve: Xserve) -> None:
    script.on(*LAUNCH, {"model_uid": "chat"})
    script.on(*LOOK, {"detail": "unknown"}, status=404)
    assert xserve("launch", "-n", "q").err == "xserve: chat was terminated before it was ready\n"


def test_a_launch_that_is_refused(script: Script, xserve: Xserve) -> None:
    script.on(*LAUNCH, {"detail": "Model is already in the model list, uid: chat"}, status=400)
    assert xserve("launch", "-n", "q").err == "xserve: Model is already in the model list, uid: chat\n"


class Terminal(io.StringIO):
    """Stdin with a person."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize(
    ("stdin", "cancelled"), [(Terminal("y\n"), True), (Terminal("\n"), False), (io.StringIO("y\n"), False)]
)
def test_ctrl_c_asks_whether_to_cancel(
    script: Script, xserve: Xserve, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO, cancelled: bool
) -> None:
    """Without a person to ask, the launch goes on."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    script.on(*LAUNCH, {"model_uid": "chat"})
    script.on(*LOOK, views.loading().model_dump(mode="json"))
    script.on("DELETE", "/v1/models/chat", None)
    monkeypatch.setattr(module.time, "sleep", interrupt)
    monkeypatch.setattr("sys.stdin", stdin)
    ended = xserve("launch", "-n", "q")
    assert ended.code == 130
    assert any(request.method == "DELETE" for request in script.requests) is cancelled
    assert ("chat is cancelled." if cancelled else "chat goes on loading.") in ended.err

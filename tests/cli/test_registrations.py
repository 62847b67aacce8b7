"""`register`, `unregister`, `registrations`, `list`, `terminate`, `engines`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xserve.core.views import EngineVerdictView, EngineView

from .scripted import Outcome, Script

Xserve = Callable[..., Outcome]


def test_register_sends_the_file_as_it_stands(script: Script, xserve: Xserve, tmp_path: Path) -> None:
    file = tmp_path / "bge.yaml"
    file.write_text("model_name: bge  # a comment\n")
    script.on("POST", "/v1/model_registrations/embedding", None)
    assert xserve("register", "-t", "embedding", "-f", str(file), "-p") == Outcome(0, "", "")
    assert script.requests[0].body == {"model": "model_name: bge  # a comment\n", "persist": True}


def test_register_without_options_is_an_llm_until_the_reboot(script: Script, xserve: Xserve, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    script.on("POST", "/v1/model_registrations/LLM", {"detail": "model_name is missing"}, status=400)
    assert xserve("register", "--file", str(tmp_path / "x")) == Outcome(1, "", "xserve: model_name is missing\n")
    assert script.requests[0].body["persist"] is False


def test_register_a_file_that_is_not_there(xserve: Xserve, tmp_path: Path) -> None:
    ended = xserve("register", "-f", str(tmp_path / "none"))
    assert ended.code == 1
    assert "cannot read" in ended.err


def test_unregister(script: Script, xserve: Xserve) -> None:
    script.on("DELETE", "/v1/model_registrations/rerank/a%20b", None)
    assert xserve("unregister", "-t", "rerank", "--model_name", "a b").code == 0


def test_registrations_of_one_type_and_of_all(script: Script, xserve: Xserve) -> None:
    for each in ("embedding", "rerank", "image", "audio", "flexible"):
        script.on("GET", f"/v1/model_registrations/{each}", [])
    script.on("GET", "/v1/model_registrations/LLM", [{"model_name": "qwen", "is_builtin": True}])
    expected = "TYPE  NAME  BUILT-IN\nLLM   qwen  yes\n"
    assert xserve("registrations", "-t", "LLM").out == expected
    assert len(script.requests) == 1
    assert xserve("registrations").out == expected
    rows = json.loads(xserve("registrations", "--json").out)
    assert rows == [{"model_type": "LLM", "model_name": "qwen", "is_builtin": True}]


def test_list_shows_what_a_description_has(script: Script, xserve: Xserve) -> None:
    rows = [
        {"id": "chat", "model_type": "LLM", "model_name": "qwen", "model_engine": "llama.cpp", "model_format": "ggufv2",
         "model_size_in_billions": 7, "quantization": "q4", "replica": 1},
        {"id": "v", "model_type": "flexible", "model_name": "v", "replica": 2},
    ]  # fmt: skip
    script.on("GET", "/v1/models", {"object": "list", "data": rows})
    assert xserve("list").out == (
        "UID   TYPE      NAME  ENGINE     FORMAT  SIZE  QUANTIZATION  REPLICAS\n"
        "chat  LLM       qwen  llama.cpp  ggufv2  7     q4            1\n"
        "v     flexible  v     -          -       -     -             2\n"
    )
    assert json.loads(xserve("list", "--json").out) == rows


@pytest.mark.parametrize("words", [["chat"], ["--model-uid", "chat"], ["-u", "chat"]])
def test_terminate(script: Script, xserve: Xserve, words: list[str]) -> None:
    script.on("DELETE", "/v1/models/chat", None)
    assert xserve("terminate", *words).code == 0


def test_terminate_what_a_file_of_the_admin_owns(script: Script, xserve: Xserve) -> None:
    script.on("DELETE", "/v1/models/chat", {"detail": "chat stands in /etc/xserve/deploy.yaml"}, status=409)
    assert xserve("terminate", "chat") == Outcome(1, "", "xserve: chat stands in /etc/xserve/deploy.yaml\n")


@pytest.mark.parametrize("words", [[], ["chat", "-u", "chat"]])
def test_terminate_names_the_model_once(xserve: Xserve, words: list[str]) -> None:
    assert xserve("terminate", *words).code == 2


def test_engines_and_what_they_say(script: Script, xserve: Xserve) -> None:
    engine = EngineView(
        name="vllm", title="vLLM", description="fast", installed=False, readiness="missing", backend="",
        reason="pip install vllm",
        serves=[
            {"type": "LLM", "formats": ["pytorch", "awq"], "families": [], "launchers": []},
            {"type": "audio", "formats": [], "families": ["whisper*"], "launchers": []},
            {"type": "image", "formats": [], "families": [], "launchers": []},
        ],
        folder="/e",
    )  # fmt: skip
    fits = EngineVerdictView(
        engine="llama_cpp", format="ggufv2", size="7", quantization="q4", able=True, taken=True, reason=""
    )
    cannot = fits.model_copy(
        update={"engine": "vllm", "size": "", "able": False, "taken": False, "reason": "it is not installed"}
    )
    coming = cannot.model_copy(update={"able": True})
    view = {"engines": [engine.model_dump()], "verdicts": [it.model_dump() for it in (fits, cannot, coming)]}
    script.on("GET", "/xserve/v1/engines", view)
    assert xserve("engines").out == (
        "ENGINE  INSTALLED  SERVES                                       HOW TO GET IT\n"
        "vllm    no         LLM (pytorch, awq); audio (whisper*); image  pip install vllm\n"
    )
    assert xserve("engines", "qwen", "-t", "LLM").out == (
        "ENGINE     FORMAT  SIZE  QUANTIZATION  CAN SERVE IT\n"
        "llama_cpp  ggufv2  7     q4            yes, and it is taken\n"
        "vllm       ggufv2  -     q4            it is not installed\n"
        "vllm       ggufv2  -     q4            yes; it is not installed\n"
    )
    assert script.requests[1].query == {"model": ["qwen"], "type": ["LLM"]}
    assert json.loads(xserve("engines", "--json").out) == view["engines"]
    assert xserve("engines", "-t", "LLM").code == 2


@pytest.mark.parametrize("words", [["vllm", "--install"], ["--environments", "/x"]])
def test_what_is_to_be_installed_stands_after_the_option(xserve: Xserve, words: list[str]) -> None:
    """Of `engines vllm --install` the name would be passed over, and every engine installed."""
    ended = xserve("engines", *words)
    assert (ended.code, "--install" in ended.err) == (2, True)

"""What becomes of a definition and a deploy entry on vLLM's command line. Starts nothing."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .harness import ENGINES, until

GIB = 1024**3
CARD = 80 * GIB
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}
CHAT = {"model_ability": ["chat", "generate", "tools"], "context_length": 2048, "chat_template": "{{ messages }}"}

Line = Callable[..., list[str]]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module as the engine's own process would; it is forgotten afterwards."""
    for folder in ("_kit", "vllm"):
        monkeypatch.syspath_prepend(str(ENGINES / folder))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def folder(path: Path, **config: Any) -> Path:
    """A folder of weights with an empty file of them."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of an ordinary model."""
    return folder(tmp_path / "weights")


@pytest.fixture
def line(module: Callable[[str], ModuleType], weights: Path) -> Line:
    """The command line for a start with these members; on a card if it has `card` bytes."""
    launch, inspection, settings = module("xserve_engine.launch"), module("inspection"), module("settings")

    def compose(card: int = 0, **members: Any) -> list[str]:
        given = {"model_type": "LLM", "weights": str(weights), "format": "pytorch", "folder": "/run/replica", **members}
        start = launch.Start("/run/e.sock", None, "served", model_name="m", **given)
        settled = settings.settle(start, inspection.look_at_weights(start))
        machine = module("machine").Machine(card > 0, card)
        return list(module("arguments").arguments(settled, machine))

    return compose


@pytest.fixture
def refusal(line: Line, module: Callable[[str], ModuleType]) -> Callable[..., tuple[int, str]]:
    """Code and sentence of a start that is refused."""

    def refused(**members: Any) -> tuple[int, str]:
        with pytest.raises(module("xserve_engine.launch").Refusal) as caught:
            line(**members)
        return caught.value.code, caught.value.sentence

    return refused


# Lengths


def test_a_request_may_be_as_long_as_the_definition_says(line: Line) -> None:
    assert "--max-model-len=2048" in line(definition=CHAT)


def test_a_request_is_never_longer_than_the_weights_allow(line: Line) -> None:
    assert "--max-model-len=4096" in line(definition={"context_length": 32768})


def test_an_option_decides_the_length(line: Line) -> None:
    assert "--max-model-len=9000" in line(definition=CHAT, options={"max_model_len": 9000})


def test_positions_that_are_scaled_are_left_to_vllm(line: Line, weights: Path) -> None:
    folder(weights, rope_scaling={"type": "linear", "factor": 4.0})
    assert "--max-model-len=16384" in line(definition={"context_length": 16384})


def test_texts_to_embed_end_where_sentence_transformers_ends_them(line: Line, weights: Path) -> None:
    (weights / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    assert "--max-model-len=256" in line(model_type="embedding", definition={"max_tokens": 512})


def test_without_a_length_vllm_decides(line: Line) -> None:
    assert not any(word.startswith("--max-model-len") for word in line())


# Memory


@pytest.mark.parametrize(
    ("asked", "share"),
    [({}, 0.9), ({"gpu_memory": 0.45}, 0.45), ({"gpu_memory": CARD // 4}, 0.25), ({"gpu_memory": 1.0}, 1.0)],
)
def test_a_share_of_a_card_is_taken(line: Line, asked: dict[str, Any], share: float) -> None:
    assert f"--gpu-memory-utilization={share:.4f}" in line(card=CARD, **asked)


def test_more_than_the_card_has_is_refused(refusal: Callable[..., tuple[int, str]]) -> None:
    assert refusal(card=CARD, gpu_memory=2 * CARD) == (
        64,
        f"The field gpu_memory asks for {2 * CARD} bytes of a card that has {CARD}.",
    )


def test_on_a_processor_the_size_of_the_cache_is_always_given(line: Line) -> None:
    assert f"--kv-cache-memory-bytes={GIB}" in line(definition={"context_length": 1024})
    assert "--kv-cache-memory-bytes=5" in line(options={"kv_cache_memory": 5})


def test_the_cache_holds_at_least_one_request_of_the_full_length(line: Line, weights: Path) -> None:
    folder(weights, max_position_embeddings=131072)
    per_token = 2 * 32 * 8 * 128 * 2  # keys and values, layers, heads, numbers, bytes
    (word,) = [word for word in line(definition={"context_length": 100_000}) if "kv-cache-memory" in word]
    assert 100_000 * per_token < int(word.partition("=")[2]) < 101_000 * per_token


# Cards, formats, adapters


def test_layers_are_divided_over_the_cards_of_the_replica(line: Line) -> None:
    assert "--tensor-parallel-size=4" in line(card=CARD, gpus=4)
    assert "--tensor-parallel-size=4" not in line(card=CARD, gpus=4, options={"pipeline_parallel_size": 4})


def test_bare_weights_of_a_quantised_format_are_refused(refusal: Callable[..., tuple[int, str]]) -> None:
    code, sentence = refusal(format="gptq")
    assert code == 65
    assert "quantization_config" in sentence


def test_weights_that_say_how_they_were_quantised_need_no_flag(line: Line, weights: Path) -> None:
    folder(weights, quantization_config={"quant_method": "fp8"})
    assert not any("--quantization" in word for word in line(format="fp8"))


@pytest.mark.parametrize(("form", "method"), [("fp8", "fp8"), ("bnb", "bitsandbytes")])
def test_what_can_be_quantised_at_the_load_is(line: Line, form: str, method: str) -> None:
    assert f"--quantization={method}" in line(format=form)


def test_adapters_are_named_and_room_is_made_for_the_largest(line: Line, tmp_path: Path) -> None:
    for name, rank in (("one", 4), ("two", 20)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"r": rank}))
    words = line(lora=[{"name": name, "path": str(tmp_path / name)} for name in ("one", "two")])
    assert "--max-lora-rank=32" in words
    named = [json.loads(word) for word in words if word.startswith('{"name"')]
    assert named == [{"name": name, "path": str(tmp_path / name)} for name in ("one", "two")]


def test_an_adapter_that_is_not_there_is_refused(refusal: Callable[..., tuple[int, str]]) -> None:
    code, sentence = refusal(lora=[{"name": "one", "path": "/no/such"}])
    assert (code, "/no/such" in sentence) == (66, True)


# The definition's words


def test_the_definitions_template_is_handed_over_as_a_file(line: Line) -> None:
    assert "--chat-template=/run/replica/chat_template.jinja" in line(definition=CHAT)


def test_a_template_that_cannot_be_read_is_refused(refusal: Callable[..., tuple[int, str]]) -> None:
    assert refusal(definition={**CHAT, "chat_template": "{% if messages %}"})[0] == 78


def test_a_chat_model_without_any_template_is_refused(refusal: Callable[..., tuple[int, str]]) -> None:
    assert refusal(definition={**CHAT, "chat_template": None})[0] == 78


def test_thinking_is_a_variable_of_the_template(line: Line) -> None:
    words = line(definition=CHAT, options={"enable_thinking": False, "chat_template_kwargs": {"tone": "dry"}})
    assert '--default-chat-template-kwargs={"tone": "dry", "enable_thinking": false}' in words


@pytest.mark.parametrize(
    ("given", "parser"),
    [
        ({"tool_parser": "qwen"}, "hermes"),
        ({"tool_parser": "llama3"}, "llama3_json"),
        ({"tool_parser": "kimi_k2"}, "kimi_k2"),
        ({"chat_template": "{{ '[TOOL_CALLS]' }}"}, "mistral"),
        ({"chat_template": "{{ '<tool_call><function=' }}"}, "qwen3_xml"),
    ],
)
def test_tool_calls_are_read_by_the_parser_of_the_model(line: Line, given: dict[str, Any], parser: str) -> None:
    words = line(definition={**CHAT, **given})
    assert f"--tool-call-parser={parser}" in words
    assert "--enable-auto-tool-choice" in words


def test_without_tools_there_is_no_parser(line: Line) -> None:
    words = line(definition={**CHAT, "model_ability": ["chat"], "tool_parser": "qwen"})
    assert not any(word.startswith(("--tool", "--enable-auto-tool")) for word in words)


TAGS = {**CHAT, "reasoning_start_tag": "<think>", "reasoning_end_tag": "</think>"}


def test_thoughts_are_told_apart_by_the_definitions_tags(line: Line) -> None:
    assert "--reasoning-parser=xserve_tags" in line(definition=TAGS)


@pytest.mark.parametrize("options", [{"reasoning_content": False}, {"reasoning_parser": "qwen3"}])
def test_thoughts_may_stay_or_be_left_to_vllms_own_parser(line: Line, options: dict[str, Any]) -> None:
    assert "--reasoning-parser=xserve_tags" not in line(definition=TAGS, options=options)


# Gates


def test_code_that_comes_with_the_weights_runs_only_through_the_gate(line: Line) -> None:
    assert "--trust-remote-code" not in line()
    assert "--trust-remote-code" in line(remote_code=True)


@pytest.mark.parametrize(
    "name",
    [
        *("trust_remote_code", "trust-remote", "--trust-remote-code", "no_trust_remote_code", "trus"),
        *("host", "middleware", "reasoning_parser_plugin", "tool_parser_pl", "uds", "api_key"),
    ],
)
def test_no_extra_argument_opens_a_gate_or_another_address(refusal: Callable[..., tuple[int, str]], name: str) -> None:
    """Nor by the beginning of a flag's name, which vLLM would take for the flag."""
    assert refusal(options={"extra_args": {name: True}})[0] == 64


def test_a_value_is_never_taken_for_a_flag(line: Line) -> None:
    words = line(options={"dtype": "--trust-remote-code", "extra_args": {"logprobs_mode": "--host=x"}})
    assert "--dtype=--trust-remote-code" in words
    assert "--logprobs-mode=--host=x" in words


@pytest.mark.parametrize(
    ("value", "word"), [(True, "--x-y"), (False, "--no-x-y"), (3, "--x-y=3"), ({"a": [1]}, '--x-y={"a": [1]}')]
)
def test_any_other_flag_is_passed_on(line: Line, value: object, word: str) -> None:
    assert line(options={"extra_args": {"x_y": value}})[-1] == word


def test_media_are_fetched_from_nowhere_unless_hosts_are_named(line: Line) -> None:
    words = line()
    assert words[words.index("--allowed-media-domains") + 1] == "nowhere.invalid"
    words = line(options={"allowed_media_domains": ["a.org"]})
    assert words[words.index("--allowed-media-domains") + 1] == "a.org"


# The weights


def test_a_file_that_was_cut_short_is_refused(refusal: Callable[..., tuple[int, str]], weights: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    file, whole = weights / "model.safetensors", len(header).to_bytes(8, "little") + header + bytes(16)
    file.write_bytes(whole[:-1])
    assert refusal() == (65, f"The file is damaged or incomplete: {file}.")
    for kept in (0, 5, 20):
        file.write_bytes(whole[:kept])
        assert refusal()[0] == 65


def test_whole_weights_are_taken(line: Line, weights: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (weights / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    assert line()


def test_a_folder_without_weights_is_refused(refusal: Callable[..., tuple[int, str]], weights: Path) -> None:
    (weights / "model.safetensors").unlink()
    assert refusal()[0] == 65


def test_weights_that_only_generate_are_no_reranker(refusal: Callable[..., tuple[int, str]], line: Line) -> None:
    code, sentence = refusal(model_type="rerank")
    assert code == 65
    assert "hf_overrides" in sentence
    assert "--runner=pooling" in line(model_type="rerank", options={"hf_overrides": {"classifier_from_token": ["no"]}})


# Answers in the contract's words


def test_thoughts_are_renamed_where_they_are_a_key_and_nowhere_else(module: Callable[[str], ModuleType]) -> None:
    reword = module("wording").reword
    said = json.dumps({"reasoning": "a", "content": '{"reasoning":1}'}, separators=(",", ":")).encode()
    assert json.loads(reword("/v1/chat/completions", 200, said)) == {
        "reasoning_content": "a",
        "content": '{"reasoning":1}',
    }
    assert reword("/v1/completions", 200, said) == said


async def answered(module: Callable[[str], ModuleType], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What is sent on when vLLM sends these."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await module("wording").Wording(app)({"type": "http", "path": "/v1/x"}, None, send)
    return sent


async def test_a_reworded_answer_states_its_new_length(module: Callable[[str], ModuleType]) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"22")]
    head, body = await answered(
        module,
        {"type": "http.response.start", "status": 404, "headers": headers},
        {"type": "http.response.body", "body": b'{"detail":"Not Found"}'},
    )
    assert dict(head["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"])["error"] == {
        "message": "Not Found: /v1/x",
        "type": "invalid_request_error",
        "code": 404,
    }


@pytest.mark.parametrize(("last", "closed"), [(b'data: {"error": {}}\n\n', False), (b'data: {"choices"}\n\n', True)])
async def test_a_stream_that_broke_off_is_not_closed_as_if_whole(
    module: Callable[[str], ModuleType], last: bytes, closed: bool
) -> None:
    events = [b'data: {"choices"}\n\n', last, b"data: [DONE]\n\n"]
    head = {"type": "http.response.start", "status": 200, "headers": []}
    bodies = [{"type": "http.response.body", "body": event, "more_body": True} for event in events]
    _, *sent = await answered(module, head, *bodies, {"type": "http.response.body"})
    assert b"".join(message["body"] for message in sent) == b"".join(events if closed else events[:2])


# What it says when it cannot start


@pytest.mark.parametrize(
    ("raised", "code", "sentence"),
    [
        (ValueError("max_model_len (9) is greater than in config.json"), 64, "is greater than in config.json."),
        (ValueError("Model architectures ['X'] are not supported."), 65, "['X'] are not supported."),
    ],
)
def test_what_vllm_refuses_before_it_loads_is_final(
    module: Callable[[str], ModuleType], tmp_path: Path, raised: Exception, code: int, sentence: str
) -> None:
    launch, failures = module("xserve_engine.launch"), module("failures")
    with pytest.raises(launch.Refusal) as caught, failures.told_by_vllm(tmp_path / "errors.txt"):
        raise raised
    assert caught.value.code == code
    assert caught.value.sentence.endswith(sentence)


TRACEBACK = """EngineCore failed to start.
Traceback (most recent call last):
  File "worker.py", line 1, in load
{cause}
EngineCore failed again.
Traceback (most recent call last):
RuntimeError: a worker failed
"""


def core_failed(module: Callable[[str], ModuleType], errors: Path, cause: str) -> BaseException:
    """How the program ends when the engine core wrote this cause."""
    errors.write_text(TRACEBACK.format(cause=cause))
    ends = (module("xserve_engine.launch").Refusal, SystemExit)
    with pytest.raises(ends) as caught, module("failures").told_by_vllm(errors):
        raise RuntimeError("Engine core initialization failed. See root cause above.")
    return caught.value


def test_a_core_without_memory_is_an_ordinary_crash_that_says_so(
    module: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end = core_failed(module, tmp_path / "errors.txt", "ValueError: Available memory is less than requested")
    assert end.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "vLLM could not start: Available memory is less than requested."


def test_a_core_with_damaged_weights_never_starts(module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    cause = "ValueError: Following weights were not initialized from checkpoint: {'lm_head'}"
    end = core_failed(module, tmp_path / "errors.txt", cause)
    assert end.code == 65
    assert "lm_head" in str(end)


def test_a_core_that_says_nothing_leaves_the_servers_words(
    module: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), module("failures").told_by_vllm(tmp_path / "none.txt"):
        raise RuntimeError("no card")
    assert capsys.readouterr().err.splitlines()[-1] == "vLLM could not start: no card."


# The process


def test_a_distribution_answers_for_another_name(
    module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    identity = module("identity")
    identity.answer_for("pytest", "pluggy")
    assert metadata.version("pytest") == pytest.__version__
    identity.answer_for("no-such-distribution", "nor-this", "pytest")
    assert metadata.version("no-such-distribution") == pytest.__version__
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("nor-this")


SERVER = """
import subprocess, sys
from multiprocessing import shared_memory
from guard import nothing_left_behind
with nothing_left_behind():
    subprocess.Popen(["sleep", "600"])
    print(shared_memory.SharedMemory(create=True, size=16).name, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, 0])
def test_whatever_ends_the_server_its_group_and_its_shared_memory_end_with_it(number: int) -> None:
    """0: by itself."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={"PYTHONPATH": str(ENGINES / "vllm"), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the tracker tells there of what it takes back
        start_new_session=True,
    )
    with server:
        assert server.stdout is not None
        assert server.stdin is not None
        shared = Path("/dev/shm", server.stdout.readline().decode().strip())
        assert shared.is_file()
        assert len(group(server.pid)) == 4  # with the guard, the child and the tracker
        server.send_signal(number) if number else server.stdin.close()
        assert server.wait(60) == -number
        assert number or not shared.exists()  # its own end is its last deed: who waits for it may kill the rest
        until(lambda: not group(server.pid), "the group is gone")
        assert not shared.exists()


def group(leader: int) -> list[int]:
    """The members of a process group that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, member = stat.read_text().rpartition(")")[2].split()[:3]
            if int(member) == leader and state != "Z":
                found.append(int(stat.parent.name))
    return found

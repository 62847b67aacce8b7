"""What the engine transformers says of models, options and adapters with which it can never start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Starter
from .harness import Engine
from .roster.transformers import subjects

(SUBJECT,) = subjects()
pytestmark = [*SUBJECT.marks(), pytest.mark.timeout(300)]


def refusal(engine: Engine, code: int) -> str:
    """The last line of an engine that refuses with this code."""
    assert engine.end() == code, engine.text()
    return engine.text().splitlines()[-1]


def variant(folder: Path, without: tuple[str, ...] = (), **config: Any) -> str:
    """The model's folder without some files, and with changes of its config.json."""
    for file in Path(SUBJECT.weights).iterdir():
        if file.name not in without:
            (folder / file.name).symlink_to(file)
    if config:
        changed = json.loads((folder / "config.json").read_text()) | config
        (folder / "config.json").unlink()
        (folder / "config.json").write_text(json.dumps(changed))
    return str(folder)


# Told before any library is loaded


def test_a_file_is_no_model(start: Starter) -> None:
    assert "config.json" in refusal(start(SUBJECT, weights=__file__), 66)


def test_two_cards_are_too_many(start: Starter) -> None:
    assert "vllm" in refusal(start(SUBJECT, launch={"gpus": 2}), 69)


def test_a_cache_that_cannot_hold_one_request_is_refused(start: Starter) -> None:
    options = {"num_blocks": 4, "page_size": 32, "max_model_len": 4096}
    assert "num_blocks" in refusal(start(SUBJECT, options=options), 64)


def test_a_variable_that_is_not_the_templates_own_is_refused(start: Starter) -> None:
    assert "messages" in refusal(start(SUBJECT, options={"chat_template_kwargs": {"messages": []}}), 64)


def test_an_adapter_that_is_not_there_is_named(start: Starter) -> None:
    launch = {"lora": [{"name": "legal", "path": "/no/such/adapter"}]}
    assert "/no/such/adapter" in refusal(start(SUBJECT, launch=launch), 66)


def test_a_mistyped_option_is_told_its_right_name(start: Starter) -> None:
    assert "Did you mean num_blocks?" in refusal(start(SUBJECT, options={"num_block": 1}), 64)


# Told as the model is looked at


@pytest.fixture
def patient(request: pytest.FixtureRequest) -> None:
    """For those who have time: the library alone takes ten seconds to load."""
    if not request.config.getoption("--long", None):
        pytest.skip("starts a heavy engine afresh: --long")


def test_an_empty_folder_is_no_model(patient: None, start: Starter, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert "cannot be loaded" in refusal(start(SUBJECT, weights=str(tmp_path / "model")), 65)


def test_weights_that_were_cut_short_are_refused(patient: None, start: Starter, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    weights = variant(tmp_path / "model", without=("model.safetensors",))
    with (Path(SUBJECT.weights) / "model.safetensors").open("rb") as file:
        Path(weights, "model.safetensors").write_bytes(file.read(100_000))
    assert "cannot be loaded" in refusal(start(SUBJECT, weights=weights), 65)


@pytest.mark.parametrize(
    ("method", "described", "named"),
    [
        ("gptq", {"bits": 4, "group_size": 128}, "optimum"),
        ("awq", {"bits": 4, "group_size": 128, "zero_point": True}, "gptqmodel"),
        ("bitsandbytes", {"load_in_4bit": True}, "bitsandbytes"),
        ("fp8", {"weight_block_size": [128, 128]}, "card"),
    ],
)
def test_what_a_quantised_model_lacks_is_named(
    patient: None, start: Starter, tmp_path: Path, method: str, described: dict[str, Any], named: str
) -> None:
    (tmp_path / "model").mkdir()
    weights = variant(tmp_path / "model", quantization_config={"quant_method": method, **described})
    assert named in refusal(start(SUBJECT, weights=weights), 69).lower()


def test_bits_that_the_deployment_asks_for_need_their_library(patient: None, start: Starter) -> None:
    assert "bitsandbytes" in refusal(start(SUBJECT, launch={"quantization": "4-bit"}), 69)


def test_a_card_that_is_not_there_is_refused(patient: None, start: Starter) -> None:
    """Skipped where there is one."""
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a card")
    assert "no card" in refusal(start(SUBJECT, options={"device": "cuda:0"}), 64)


def test_a_chat_model_without_any_template_is_refused(patient: None, start: Starter, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    weights = variant(tmp_path / "model", without=("chat_template.jinja",))
    assert "have a chat template" in refusal(start(SUBJECT, weights=weights), 78)


def test_a_template_that_cannot_be_read_is_refused(patient: None, start: Starter) -> None:
    assert "chat template" in refusal(start(SUBJECT, definition={"chat_template": "{% if messages %}"}), 78)


def test_a_tag_of_nothing_but_space_is_refused(patient: None, start: Starter) -> None:
    tags = {"reasoning_start_tag": "<think>", "reasoning_end_tag": " "}
    assert "reasoning_end_tag" in refusal(start(SUBJECT, definition=tags), 78)


def test_a_tokenizer_that_cannot_be_followed_token_by_token_is_refused(
    patient: None, start: Starter, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    weights = variant(tmp_path / "model", without=("tokenizer.json", "tokenizer_config.json"))
    Path(weights, "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    assert "token by token" in refusal(start(SUBJECT, weights=weights), 65)


def test_a_tool_parser_that_is_not_known_is_refused(patient: None, start: Starter) -> None:
    assert "no_such_parser" in refusal(start(SUBJECT, definition={"tool_parser": "no_such_parser"}), 78)

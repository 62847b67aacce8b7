"""Which engine serves which weights, and what it says where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from xserve.core.deploy import Entry
from xserve.core.engines import (
    Choice,
    Engine,
    Gates,
    Verdict,
    choose,
    find_engine,
    no_such_engine,
    normal_name,
    select_specs,
    specs_of,
    verdicts,
)
from xserve.core.environment import Environment, Readiness
from xserve.core.manifest import Serves

from .houses import NO_GATES, engine, llm, registration

TORCH = engine("vllm", title="vLLM")
GGUF = engine("llama_cpp", title="llama.cpp", serves=[{"type": "LLM", "formats": ["ggufv2"]}])
BOTH = engine("both", serves=[{"type": "LLM", "formats": ["awq", "ggufv2"]}, {"type": "LLM", "formats": ["pytorch"]}])
SHY = engine("fake", serves=[{"type": "LLM"}], only_when_named=True)
MODEST = engine("modest", serves=[{"type": "LLM"}], backends=[{"name": "b", "only_when_named": True}])
RERANKER = engine("reranker", serves=[{"type": "rerank"}])
MISSING = engine(
    "missing", installed=False, backends=[{"name": "a", "install": "do a"}, {"name": "b", "install": "do b"}]
)
SPECS = [
    {"model_format": "ggufv2", "quantization": "Q4", "model_size_in_billions": "7"},
    {"model_format": "pytorch", "quantization": "none", "model_size_in_billions": "7"},
    {"model_format": "pytorch", "quantization": "none", "model_size_in_billions": "0_5"},
]
DEFINITION = llm(*SPECS).definition


def chosen(engines: list[Engine], wanted: str | None = None, **entry: Any) -> tuple[str, str] | str:
    """Engine and format that are chosen, or the sentence."""
    found = choose(DEFINITION, select_specs(DEFINITION, Entry(**entry)), wanted, engines)
    return (found.engine.manifest.name, found.spec["model_format"]) if isinstance(found, Choice) else found


@pytest.mark.parametrize(
    ("engines", "entry", "choice"),
    [
        ([TORCH], {}, ("vllm", "pytorch")),
        ([TORCH, GGUF], {}, ("llama_cpp", "ggufv2")),
        ([BOTH, GGUF], {}, ("both", "ggufv2")),
        ([GGUF, BOTH], {}, ("llama_cpp", "ggufv2")),
        ([TORCH, GGUF], {"format": "pytorch"}, ("vllm", "pytorch")),
        ([GGUF, BOTH], {"format": "pytorch"}, ("both", "pytorch")),
        ([MISSING, TORCH], {}, ("vllm", "pytorch")),
        ([SHY, TORCH], {}, ("vllm", "pytorch")),
        ([RERANKER, TORCH], {}, ("vllm", "pytorch")),
    ],
)
def test_the_first_spec_that_an_engine_serves_by_the_first_engine(
    engines: list[Engine], entry: dict[str, Any], choice: tuple[str, str]
) -> None:
    assert chosen(engines, **entry) == choice


@pytest.mark.parametrize(
    ("engines", "sentence"),
    [
        ([MISSING], "missing: not installed (do a; or do b)"),
        ([RERANKER, MISSING, SHY], "missing: not installed (do a; or do b)"),
        ([MODEST, MISSING], "modest: only where an entry names it; missing: not installed (do a; or do b)"),
    ],
)
def test_where_none_can_each_that_serves_the_type_says_why(engines: list[Engine], sentence: str) -> None:
    assert chosen(engines) == f"no engine can serve its ggufv2 and pytorch weights: {sentence}"


@pytest.mark.parametrize("engines", [[], [RERANKER], [SHY]])
def test_where_no_engine_serves_the_type_that_is_all_there_is_to_say(engines: list[Engine]) -> None:
    assert chosen(engines) == "no engine here serves LLM models"


def test_a_name_that_no_engine_has_comes_with_the_one_that_may_be_meant() -> None:
    names = ["llama_cpp", "vllm"]
    assert no_such_engine("vlm", names) == "no engine is called 'vlm'; did you mean 'vllm'?"
    assert no_such_engine("LLama.cp", names) == "no engine is called 'LLama.cp'; did you mean 'llama_cpp'?"
    assert no_such_engine("ollama-x", ["vllm"]) == "no engine is called 'ollama-x'; there are vllm"


def test_all_formats_that_an_engine_takes_are_told() -> None:
    awq = llm({"model_format": "gptq"}).definition
    assert (
        choose(awq, specs_of(awq), None, [BOTH])
        == "no engine can serve its gptq weights: both: needs awq or ggufv2 or pytorch"
    )


def test_an_engine_that_is_named_is_the_only_one_asked() -> None:
    assert chosen([TORCH, GGUF], "vllm") == ("vllm", "pytorch")
    assert (
        chosen([TORCH, GGUF], "vllm", format="ggufv2") == "no engine can serve its ggufv2 weights: vllm: needs pytorch"
    )


def test_an_engine_that_must_be_named_serves_when_it_is() -> None:
    assert chosen([TORCH, SHY], "fake") == ("fake", "ggufv2")


@pytest.mark.parametrize("name", ["llama_cpp", "llama.cpp", "Llama.CPP", "LLAMACPP", "llama-cpp", "vLLM", "VLLM"])
def test_an_engine_is_found_by_name_or_title_however_it_is_written(name: str) -> None:
    found = find_engine(name, [TORCH, GGUF])
    assert found is (GGUF if normal_name(name) == "llamacpp" else TORCH)


def test_a_name_goes_before_the_title_of_another() -> None:
    other = engine("copy", title="vLLM")
    assert find_engine("vllm", [other, TORCH]) is TORCH
    assert find_engine("vLLM", [other]) is other


@pytest.mark.parametrize("name", ["llama", "", "...", "transformers"])
def test_another_name_finds_none(name: str) -> None:
    assert find_engine(name, [TORCH, GGUF]) is None


@pytest.mark.parametrize(
    ("entry", "rows"),
    [
        ({}, [0, 1, 2]),
        ({"format": "pytorch"}, [1, 2]),
        ({"size": "7"}, [0, 1]),
        ({"quantization": "none", "size": "0_5"}, [2]),
        ({"size": "0"}, []),
        ({"format": "PyTorch"}, []),
    ],
)
def test_an_entry_selects_specs(entry: dict[str, Any], rows: list[int]) -> None:
    found = select_specs(DEFINITION, Entry(**entry))
    assert found == [specs_of(DEFINITION)[row] for row in rows]


def test_a_kind_without_specs_has_one() -> None:
    (spec,) = specs_of(registration("image").definition)
    assert spec == {
        "model_id": None,
        "model_uri": "file:///path/to/my-qwen-image",
        "model_revision": None,
        "model_hub": "huggingface",
        "model_format": "",
        "quantization": "none",
    }


def test_the_table_has_a_row_for_every_spec_and_engine() -> None:
    rows = list(verdicts(DEFINITION, [TORCH, MISSING], Gates()))
    assert rows[:4] == [
        Verdict("vllm", "ggufv2", "7", "Q4", False, False, "needs pytorch"),
        Verdict("missing", "ggufv2", "7", "Q4", False, False, "needs pytorch"),
        Verdict("vllm", "pytorch", "7", "none", True, True, ""),
        Verdict("missing", "pytorch", "7", "none", False, False, "not installed (do a; or do b)"),
    ]
    assert len(rows) == 6


def test_an_engine_whose_environment_is_yet_to_be_made_can_serve() -> None:
    environment = Environment("vllm", "b", ("vllm==1",), (), "here")
    unmade = replace(TORCH, environment=environment, readiness=Readiness.ABSENT)
    row = list(verdicts(DEFINITION, [unmade], Gates()))[1]
    assert row.able
    assert "its environment is made when a deployment asks for it" in row.reason


def test_an_engine_that_needs_no_backend_is_installed() -> None:
    assert Engine(TORCH.manifest, "/x", "").missing == ""


# -- beyond the format -----------------------------------------------------------------------------------------------


def said(definition: dict[str, Any], serves: list[dict[str, Any]], gates: Gates = NO_GATES, named: bool = False) -> str:
    """Why an engine with these rows cannot serve a definition; empty where it can."""
    found = choose(
        definition, specs_of(definition), "one" if named else None, [engine("one", serves=serves)], gates=gates
    )
    return found.removeprefix("no engine can serve it: one: ") if isinstance(found, str) else ""


@pytest.mark.parametrize(
    ("family", "sentence"), [("whisper", ""), ("Whisper-large", ""), ("ChatTTS", "needs a model_family like whisper*")]
)
def test_an_engine_serves_the_families_that_it_knows(family: str, sentence: str) -> None:
    rows = [{"type": "audio", "families": ["whisper*"]}]
    assert said({**registration("audio").definition, "model_family": family}, rows) == sentence


def test_a_launcher_that_does_not_ship_is_served_only_where_the_settings_allow_it() -> None:
    rows = [{"type": "flexible", "launchers": ["shipped.*"]}]
    definition = dict(registration("flexible").definition)
    refused = "the launcher ours.Model does not ship with it; allow_custom_launchers in xserve.yaml can allow it"
    assert said({**definition, "launcher": "shipped.pipeline"}, rows) == ""
    assert said({**definition, "launcher": "ours.Model"}, rows) == refused
    assert said({**definition, "launcher": "ours.Model"}, rows, Gates(launchers=("ours.*",))) == ""


def test_an_engine_that_lacks_an_ability_is_taken_only_where_it_is_named() -> None:
    rows = [{"type": "LLM", "abilities": ["chat", "generate"]}]
    seeing = llm(model_ability=["chat", "vision", "tools"]).definition
    assert said(dict(seeing), rows).endswith("one: lacks tools and vision")
    assert said(dict(seeing), rows, named=True) == ""


def test_of_two_rows_the_one_with_the_abilities_is_taken() -> None:
    rows = [{"type": "LLM", "abilities": ["chat"]}, {"type": "LLM", "abilities": ["chat", "vision"], "preference": 7}]
    found = choose(llm(model_ability=["chat", "vision"]).definition, SPECS, None, [engine(serves=rows)])
    assert isinstance(found, Choice)
    assert found.serves.preference == 7


def test_the_preferred_engine_is_taken_but_an_installed_one_goes_first() -> None:
    plain, better = engine("plain"), engine("better", serves=[{"type": "LLM", "preference": 5}])
    unmade = replace(better, readiness=Readiness.ABSENT)
    assert chosen([plain, better], format="pytorch") == ("better", "pytorch")
    assert chosen([plain, unmade], format="pytorch") == ("plain", "pytorch")
    assert chosen([unmade], format="pytorch") == ("better", "pytorch")


def test_a_backend_that_must_be_named_is_not_taken_by_itself() -> None:
    shy = engine("shy", backends=[{"name": "b", "only_when_named": True}])
    assert chosen([shy, TORCH], format="pytorch") == ("vllm", "pytorch")
    assert chosen([shy], "shy", format="pytorch") == ("shy", "pytorch")


def test_weights_that_a_row_is_not_made_for_leave_it_to_another_engine() -> None:
    def suits(spec: Mapping[str, Any], serves: Serves) -> str:
        return "there is no model.bin" if serves.holds else ""

    other = engine("a", serves=[{"type": "LLM", "holds": ["model.bin"]}])
    specs = specs_of(DEFINITION)
    found = choose(DEFINITION, specs, None, [other, TORCH], suits=suits)
    assert isinstance(found, Choice)
    assert found.engine is TORCH
    assert "a: there is no model.bin" in str(choose(DEFINITION, specs, None, [other], suits=suits))
    assert next(iter(verdicts(DEFINITION, [other], Gates(), suits))).reason == "there is no model.bin"

"""What should run, or why it cannot yet: every reason to wait, aliases, and what makes a revision."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xserve.core.desired import Deployment, Order, Registration, Waiting, Weights
from xserve.core.engines import Gates
from xserve.core.environment import Environment, Readiness
from xserve.core.exposure import Exposure
from xserve.core.manifest import Probe
from xserve.core.ports import Wish
from xserve.core.problems import Severity
from xserve.core.reasons import Reason

from .houses import TEMPLATE, THERE, deployed, engine, llm, order, registration, settle, waits
from .samples import template

GGUF = {"model_format": "ggufv2", "quantization": "Q4", "model_uri": "/w/x.gguf"}
FILE = engine("gguf", serves=[{"type": "LLM", "formats": ["ggufv2"], "weights": "file"}], title="GGUF.cpp")

# -- reasons to wait -------------------------------------------------------------------------------------------------

REASONS: list[tuple[Waiting, Reason, str]] = [
    (waits(model="other"), Reason.NO_DEFINITION, "no definition is called 'other'; put one into models.d"),
    (
        waits(model="other", type="rerank"),
        Reason.NO_DEFINITION,
        "no rerank definition is called 'other'; put one into models.d",
    ),
    (waits(type="rerank"), Reason.NO_DEFINITION, "no rerank definition is called 'llm'; put one into models.d"),
    (
        waits(llm(), registration("rerank", model_name="llm")),
        Reason.AMBIGUOUS_TYPE,
        "'llm' is registered as LLM and as rerank; add the key type to say which",
    ),
    (
        waits(size="7", quantization="Q4"),
        Reason.NO_SPEC,
        "'llm' has no spec with size 7, quantization Q4; see models.d/llm.json",
    ),
    (waits(format="awq"), Reason.NO_SPEC, "'llm' has no spec with format awq; see models.d/llm.json"),
    (waits(engines=[FILE]), Reason.NO_ENGINE, "no engine can serve its pytorch weights: gguf: needs ggufv2"),
    (
        waits(engines=[engine(installed=False)]),
        Reason.NO_ENGINE,
        "no engine can serve its pytorch weights: native: not installed (pip install native)",
    ),
    (waits(engine="vllm"), Reason.NO_ENGINE, "no engine is called 'vllm'; there are native"),
    (waits(engines=[]), Reason.NO_ENGINE, "no engine here serves LLM models"),
    (waits(engines=[], engine="vllm"), Reason.NO_ENGINE, "no engine is called 'vllm'; there are none"),
    (
        waits(
            options={"ctx": 1}, engines=[engine(options={"properties": {"n_ctx": {}}, "additionalProperties": False})]
        ),
        Reason.BAD_OPTIONS,
        "unknown option 'ctx'; did you mean 'n_ctx'?",
    ),
    (
        waits(weights=Weights("")),
        Reason.NO_WEIGHTS,
        "its weights are not there yet: /path/to/models--Qwen--Qwen2.5-0.5B",
    ),
    (
        waits(llm(GGUF), engines=[FILE], weights=Weights("directory")),
        Reason.BAD_WEIGHTS,
        "/w/x.gguf is a directory; GGUF.cpp needs a file",
    ),
    (waits(weights=Weights("file", trouble="it is cut off")), Reason.BAD_WEIGHTS, "it is cut off"),
    (
        waits(llm(model_ability=["chat"]), weights=Weights("directory", chat_template=False)),
        Reason.BAD_WEIGHTS,
        "it chats, but neither the definition nor /path/to/models--Qwen--Qwen2.5-0.5B has a chat template; "
        "add chat_template",
    ),
    (
        waits(llm({"model_uri": None, "model_id": "org/x"})),
        Reason.NEEDS_DOWNLOAD,
        "its weights are on a hub (huggingface: org/x); downloads are not supported yet, give model_uri",
    ),
    (
        waits(gpus=[0], replicas=2),
        Reason.NO_GPU,
        "gpus names 1 GPU for 2 replicas; name as many for each of them",
    ),
    (
        waits(gpus=[0, 1, 2], replicas=2),
        Reason.NO_GPU,
        "gpus names 3 GPUs for 2 replicas; name as many for each of them",
    ),
]


@pytest.mark.parametrize(("found", "reason", "sentence"), REASONS, ids=[row[2][:40] for row in REASONS])
def test_an_entry_waits_with_a_reason_and_a_sentence(found: Waiting, reason: Reason, sentence: str) -> None:
    assert (found.uid, found.reason, found.sentence) == ("chat", reason, sentence)


@pytest.mark.parametrize(("found", "reason", "sentence"), REASONS, ids=[row[2][:40] for row in REASONS])
def test_only_a_lost_definition_ends_what_runs(found: Waiting, reason: Reason, sentence: str) -> None:
    assert found.keep is (reason is not Reason.NO_DEFINITION)


@pytest.mark.parametrize(("found", "reason", "sentence"), REASONS, ids=[row[2][:40] for row in REASONS])
def test_clients_are_told_why_once_the_definition_is_known(found: Waiting, reason: Reason, sentence: str) -> None:
    known = reason not in {Reason.NO_DEFINITION, Reason.AMBIGUOUS_TYPE}
    assert found.exposure == (Exposure("LLM") if known else None)


def test_a_fault_in_options_says_where() -> None:
    schema = {"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}
    found = waits(options={"a": {"b": "x"}}, engines=[engine(options=schema)])
    assert found.place == ("options", "a", "b")
    assert found.sentence == "option a.b: 'x' is not of type 'integer'"


def test_an_engine_that_is_named_and_cannot_is_the_key_at_fault() -> None:
    assert waits(engine="vlm").place == waits(engines=[engine(installed=False)], engine="native").place == ("engine",)


def test_one_entry_that_waits_harms_no_other() -> None:
    found = settle([order("a", model="missing"), order("b"), order("c", size="9")])
    assert set(found.deployments) == {"b"}
    assert set(found.waiting) == {"a", "c"}


# -- registrations ---------------------------------------------------------------------------------------------------


def test_the_public_name_is_the_model_unless_said_otherwise() -> None:
    found = settle([order("llm", model=None)])
    assert found.deployments["llm"].registration.name == "llm"


def test_a_type_selects_among_registrations_of_one_name() -> None:
    both = [llm(), registration("rerank", model_name="llm")]
    serves = [{"type": "LLM"}, {"type": "rerank"}]
    assert deployed(*both, type="rerank", engines=[engine(serves=serves)]).launch.model_type == "rerank"
    assert deployed(*both, type="LLM", engines=[engine(serves=serves)]).launch.model_type == "LLM"


# -- weights ---------------------------------------------------------------------------------------------------------


def test_a_path_of_the_entry_goes_before_the_definition() -> None:
    assert deployed(path="file:///srv/x").launch.weights == "/srv/x"
    assert deployed(llm({"model_uri": None, "model_id": "org/x"}), path="/srv/x").launch.weights == "/srv/x"
    assert deployed().launch.weights == "/path/to/models--Qwen--Qwen2.5-0.5B"


def test_an_engine_without_weights_looks_for_none() -> None:
    nothing = engine(serves=[{"type": "LLM", "weights": "none"}])
    found = settle([order()], engines=[nothing], weights=Weights(""))
    assert set(found.deployments) == {"chat"}


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"model_ability": ["generate"]}, False),
        ({"model_ability": ["chat"], "chat_template": TEMPLATE}, False),
        ({"model_ability": ["chat"]}, None),
        ({"model_ability": ["chat"]}, True),
    ],
)
def test_a_template_is_asked_for_only_where_it_is_known_to_be_missing(
    changes: dict[str, Any], facts: bool | None
) -> None:
    found = settle([order()], [llm(**changes)], weights=Weights("directory", chat_template=facts))
    assert not found.waiting


# -- aliases ---------------------------------------------------------------------------------------------------------


def test_an_alias_belongs_to_the_first_who_names_it() -> None:
    found = settle([order("a", aliases=["x", "y"]), order("b", aliases=["y", "z"])])
    assert found.deployments["a"].exposure.aliases == ("x", "y")
    assert found.deployments["b"].exposure.aliases == ("z",)
    (problem,) = found.problems
    assert (problem.path, problem.field, problem.severity) == ("deploy.yaml", "models.b.aliases", Severity.ERROR)
    assert problem.message == "the name 'y' already belongs to 'a'; 'b' serves without it"


def test_a_name_goes_before_an_alias_wherever_it_stands() -> None:
    found = settle([order("a", aliases=["b"]), order("b")])
    assert found.deployments["a"].exposure.aliases == ()
    assert found.problems[0].message == "the name 'b' already belongs to 'b'; 'a' serves without it"


def test_an_alias_that_says_nothing_new_is_no_problem() -> None:
    found = settle([order("a", aliases=["a", "x", "x"])])
    assert found.deployments["a"].exposure.aliases == ("x",)
    assert found.problems == ()


# -- what a deployment says ------------------------------------------------------------------------------------------


def test_the_launch_says_what_the_engine_needs() -> None:
    launch = deployed(llm(chat_template=TEMPLATE), options={"n": 1}, engines=[engine(options={})]).launch
    assert launch.as_file() == {
        "version": 1,
        "uid": "chat",
        "engine": "native",
        "model_type": "LLM",
        "model_name": "llm",
        "format": "pytorch",
        "size": "0_5",
        "quantization": "none",
        "weights": "/path/to/models--Qwen--Qwen2.5-0.5B",
        "definition": launch.definition,
        "options": {"n": 1},
        "gpus": 0,
        "gpu_memory": None,
        "lora": (),
        "remote_code": False,
        "launcher_dirs": (),
    }
    assert launch.definition["chat_template"] == TEMPLATE
    assert launch.definition["context_length"] == 32768


def test_the_environment_of_the_entry_goes_before_the_engines_own() -> None:
    found = deployed(env={"B": "entry", "C": "entry"}, engines=[engine(env={"A": "engine", "B": "engine"})])
    assert found.command.env == (("A", "engine"), ("B", "entry"), ("C", "entry"))
    assert "env" not in found.launch.as_file()


def test_the_command_is_filled_in_but_for_what_only_the_runtime_knows() -> None:
    command = deployed(engines=[engine(health="/up", stop_grace=3.0)]).command
    assert command.argv == ("/bin/python", "/engines/native", "--launch", "{launch}", "--backend={backend}", "b")
    assert (command.health, command.stop_grace, command.probe) == ("/up", 3.0, None)


def test_the_probe_is_the_one_of_the_model_type() -> None:
    rows = [{"type": "rerank", "probe": {"path": "/two"}}, {"type": "LLM", "probe": {"path": "/one"}}]
    assert deployed(engines=[engine(serves=rows)]).command.probe == Probe(path="/one")


def test_a_probe_that_an_option_describes_is_sent_only_where_that_is_given() -> None:
    rows = [{"type": "LLM", "probe": {"path": "/one", "option": "probe"}}]
    schema = {"type": "object", "properties": {"probe": {"type": "object"}}}
    assert deployed(engines=[engine(serves=rows)]).command.probe is None
    deployment = deployed(options={"probe": {"args": [1]}}, engines=[engine(serves=rows, options=schema)])
    assert deployment.command.probe == Probe(path="/one", option="probe", body={"args": [1]})


@pytest.mark.parametrize(
    ("gpus", "replicas", "wish"),
    [
        ("auto", 1, Wish()),
        ("none", 1, Wish()),
        (0, 1, Wish()),
        (2, 3, Wish(2)),
        ([1, 0], 1, Wish(2, (1, 0))),
        ([1, 0], 2, Wish(2, (1, 0))),
        ([1, 0], 0, Wish(2, (1, 0))),
        ([], 2, Wish()),
    ],
)
def test_wishes_for_cards(gpus: Any, replicas: int, wish: Wish) -> None:
    assert deployed(gpus=gpus, replicas=replicas).wish == wish


def test_defaults_that_the_server_cannot_take_are_left_to_the_gateway() -> None:
    stops = {"stop": ["<|end|>"], "stop_token_ids": [2]}
    asking = engine(request_defaults=["stop", "stop_token_ids"])
    assert deployed(llm(**stops), engines=[asking]).exposure.request_defaults == stops
    assert deployed(llm(stop=["x"], stop_token_ids=[]), engines=[asking]).exposure.request_defaults == {"stop": ["x"]}
    assert deployed(llm(**stops)).exposure.request_defaults == {}


def test_a_kind_without_specs_is_one_spec() -> None:
    audio = registration("audio", model_format="ggufv2", quantization="q5")
    found = deployed(audio, model="audio", engines=[engine(serves=[{"type": "audio"}])])
    assert (found.launch.format, found.launch.quantization, found.launch.size) == ("ggufv2", "q5", "")
    assert found.launch.weights == "/path/to/my-ChatTTS"


def test_exit_codes_that_mean_never_come_from_the_engine() -> None:
    assert deployed(engines=[engine(never_start={78: "bad weights"})]).never_start == {78: "bad weights"}


# -- what makes a revision -------------------------------------------------------------------------------------------


def revision(definition: Registration | None = None, **entry: Any) -> str:
    """The revision of a deployment."""
    found: Deployment = deployed(definition or llm(), engines=[engine(options={})], **entry)
    assert found.revision == found.launch.digest()
    return found.revision


BASE = revision()
TEXTS = st.text(max_size=5)


@settings(max_examples=settings().max_examples // 2)
@given(
    description=st.none() | TEXTS,
    languages=st.lists(TEXTS, max_size=2),
    aliases=st.lists(st.sampled_from(["x", "y", "z"]), unique=True),
    limit=st.none() | st.integers(1, 99),
    replicas=st.integers(0, 9),
)
def test_what_no_engine_acts_on_restarts_nothing(
    description: str | None, languages: list[str], aliases: list[str], limit: int | None, replicas: int
) -> None:
    changed = llm(model_description=description, model_lang=languages, cache_config={"a": 1}, my_own_key=description)
    same = Registration("LLM", "llm", changed.definition, "runtime", "elsewhere.yaml", "other")
    assert revision(same, aliases=aliases, request_limit=limit, replicas=replicas) == BASE


CHANGES: list[tuple[Registration, dict[str, Any]]] = [
    (llm(), {"options": {"n": 1}}),
    (llm(), {"env": {"A": "1"}}),
    (llm(), {"path": "/elsewhere"}),
    (llm(chat_template=TEMPLATE), {}),
    (llm(context_length=4096), {}),
    (llm(stop=["x"]), {}),
    (llm(model_ability=["generate", "chat"]), {}),
    (llm(model_family="other"), {}),
    (llm({"quantization": "4-bit"}), {}),
    (llm({"model_size_in_billions": "7"}), {}),
    (llm({"model_format": "awq"}), {}),
    (llm({"model_uri": "/another"}), {}),
]


def test_what_an_engine_acts_on_is_another_revision_each() -> None:
    any_format = [engine(options={}, serves=[{"type": "LLM"}])]
    found = [deployed(each, engines=any_format, **entry).revision for each, entry in CHANGES]
    assert len({BASE, *found}) == len(CHANGES) + 1


def test_the_engine_and_the_public_name_make_a_revision_too() -> None:
    other = deployed(engines=[engine("other", options={})]).revision
    named = settle([order("x")], engines=[engine(options={})]).deployments["x"].revision
    assert len({BASE, other, named}) == 3


@settings(max_examples=settings().max_examples // 4)
@given(st.dictionaries(TEXTS, st.integers() | TEXTS, min_size=2), st.randoms(use_true_random=False))
def test_the_order_in_which_options_are_written_does_not_count(options: dict[str, Any], chance: random.Random) -> None:
    turned = dict(chance.sample(list(options.items()), len(options)))
    launch = deployed().launch
    assert replace(launch, options=options).digest() == replace(launch, options=turned).digest()


def test_a_revision_is_twelve_hexadecimal_digits() -> None:
    assert len(BASE) == 12
    assert int(BASE, 16) >= 0


def test_a_definition_and_its_second_version_make_one_revision() -> None:
    base = template("llm")["model_specs"][0]
    spec = {key: value for key, value in base.items() if key != "quantization"}
    first = registration("llm", version=1, model_specs=[{**spec, "quantizations": ["none"]}])
    assert revision(first) == BASE


def test_members_of_the_spec_that_an_engine_acts_on_stand_under_spec() -> None:
    found = deployed(llm({"multimodal_projectors": ["mmproj.gguf"], "model_revision": "abc"}), engines=[engine()])
    assert found.launch.definition["spec"] == {"multimodal_projectors": ["mmproj.gguf"]}
    assert revision(llm({"multimodal_projectors": ["mmproj.gguf"]})) != BASE


# -- adapters, gates, environments -----------------------------------------------------------------------------------

LEGAL = {"name": "legal", "path": "file:///srv/legal"}
WITH_LORA = [{"type": "LLM", "formats": ["pytorch"], "lora": True}]


def test_an_adapter_is_told_to_the_engine_and_has_a_public_name() -> None:
    found = deployed(lora=[LEGAL], engines=[engine(serves=WITH_LORA)])
    assert found.launch.lora == ({"name": "legal", "path": "/srv/legal"},)
    assert found.exposure.adapters == {"legal": {}}


def test_an_amount_of_memory_is_refused_by_an_engine_that_keeps_to_none() -> None:
    waiting = waits(gpu_memory=0.5)
    assert (waiting.reason, waiting.place) == (Reason.BAD_OPTIONS, ("gpu_memory",))
    assert waiting.sentence.startswith("native keeps to no amount of memory")
    assert deployed(gpu_memory=0.5, engines=[engine(gpu_memory=True)]).launch.gpu_memory == 0.5


def test_an_adapter_is_selected_as_its_engine_wants_it() -> None:
    native = engine(serves=WITH_LORA, adapters={"lora": [{"id": "{index}", "scale": 1.0}]})
    second = {**LEGAL, "name": "medical"}
    found = deployed(lora=[LEGAL, second], engines=[native]).exposure.adapters
    assert found == {"legal": {"lora": [{"id": 0, "scale": 1.0}]}, "medical": {"lora": [{"id": 1, "scale": 1.0}]}}


def test_an_engine_without_adapters_says_so() -> None:
    waiting = waits(lora=[LEGAL])
    assert (waiting.reason, waiting.place) == (Reason.BAD_OPTIONS, ("lora",))
    assert waiting.sentence == "native takes no LoRA adapters for such a model"


@pytest.mark.parametrize("taken", [{"lora": [{**LEGAL, "name": "chat"}]}, {"lora": [LEGAL], "aliases": ["legal"]}])
def test_an_adapter_cannot_be_called_like_the_model_itself(taken: dict[str, Any]) -> None:
    """It could never be asked for: the name means the model without it."""
    found = settle([order("chat", **taken)], engines=[engine(serves=WITH_LORA)])
    assert found.deployments["chat"].exposure.adapters == {}
    (problem,) = found.problems
    assert (problem.field, problem.severity) == ("models.chat.lora", Severity.ERROR)
    assert "already belongs to 'chat'" in problem.message


def test_the_name_of_an_adapter_belongs_to_one_entry() -> None:
    engines = [engine(serves=WITH_LORA)]
    found = settle([order("a", lora=[LEGAL]), order("legal"), order("c", lora=[LEGAL])], engines=engines)
    assert [each.exposure.adapters for each in found.deployments.values()] == [{}, {}, {}]
    assert [problem.field for problem in found.problems] == ["models.a.lora", "models.c.lora"]


@pytest.mark.parametrize(("patterns", "allowed"), [((), False), (("other",), False), (("ll*",), True)])
def test_remote_code_runs_only_where_the_settings_name_the_registration(
    patterns: tuple[str, ...], allowed: bool
) -> None:
    found = settle([order()], gates=Gates(remote_code=patterns)).deployments["chat"]
    assert found.launch.remote_code is allowed


@pytest.mark.parametrize("layer", ["state", "runtime"])
def test_a_pattern_of_names_opens_no_gate_to_callers_who_choose_the_name_or_the_path(layer: str) -> None:
    """Any caller could register foreign weights as `llm`, or launch those that are by another path."""

    def may(wanted: Order, definition: Registration, *patterns: str) -> bool:
        found = settle([wanted], [definition], gates=Gates(remote_code=patterns))
        return found.deployments["chat"].launch.remote_code

    registered = replace(llm(), layer=layer)
    launched, moved = (replace(order(**entry), layer=layer) for entry in ({}, {"path": "/tmp/mine"}))
    assert not may(order(), registered, "llm", "l*")
    assert not may(moved, llm(), "llm", "l*")
    assert may(launched, llm(), "llm")
    assert may(order(path="/srv/llm"), llm(), "llm")
    assert may(moved, registered, "*")


def test_only_flexible_models_are_told_where_launchers_are() -> None:
    gates = Gates(launcher_dirs=("/srv/launchers",))
    flexible = registration("flexible", model_name="llm", launcher="xserve.launchers.onnx")
    engines = [engine(serves=[{"type": "flexible"}, {"type": "LLM"}])]
    for each, told in ((flexible, ("/srv/launchers",)), (llm(), ())):
        found = settle([order()], [each], engines, gates=gates).deployments["chat"]
        assert found.launch.launcher_dirs == told


@pytest.mark.parametrize(
    ("gpus", "replicas", "cards"), [("auto", 1, 0), ("none", 1, 0), (2, 3, 2), ([0, 1, 2, 3], 2, 2)]
)
def test_an_engine_is_told_how_many_cards_each_replica_has(gpus: Any, replicas: int, cards: int) -> None:
    assert deployed(gpus=gpus, replicas=replicas).launch.gpus == cards


@pytest.mark.parametrize(
    ("readiness", "reason"),
    [
        (Readiness.ABSENT, Reason.PREPARING),
        (Readiness.MAKING, Reason.PREPARING),
        (Readiness.FAILED, Reason.NO_ENVIRONMENT),
    ],
)
def test_a_deployment_waits_for_its_environment_and_says_how_far_that_is(readiness: Readiness, reason: Reason) -> None:
    needed = Environment("native", "b", ("torch==1",), (), "here")
    native = replace(engine(), environment=needed, readiness=readiness, note="halfway")
    waiting = waits(engines=[native])
    assert (waiting.reason, waiting.needs, waiting.keep) == (reason, needed, True)
    assert ("halfway" in waiting.sentence) is (readiness is not Readiness.ABSENT)


def test_no_environment_is_asked_for_while_the_weights_are_not_there() -> None:
    needed = Environment("native", "b", ("torch==1",), (), "here")
    native = replace(engine(), environment=needed, readiness=Readiness.ABSENT)
    assert waits(engines=[native], weights=Weights("")).reason is Reason.NO_WEIGHTS


def test_an_engine_that_was_chosen_stays_although_a_better_one_was_installed() -> None:
    plain = engine("plain")
    better = engine("better", serves=[{"type": "LLM", "formats": ["pytorch"], "preference": 9}])
    first = settle([order()], engines=[plain]).deployments
    assert settle([order()], engines=[better, plain], before=first).deployments["chat"].launch.engine == "plain"
    assert settle([order()], engines=[better, plain]).deployments["chat"].launch.engine == "better"


def test_an_entry_that_was_changed_gets_the_best_engine_anew() -> None:
    plain = engine("plain")
    better = engine("better", serves=[{"type": "LLM", "formats": ["pytorch"], "preference": 9}])
    first = settle([replace(order(), generation="before")], engines=[plain]).deployments
    assert settle([order()], engines=[better, plain], before=first).deployments["chat"].launch.engine == "better"


def test_a_definition_that_was_changed_gets_the_best_engine_anew() -> None:
    plain = engine("plain")
    better = engine("better", serves=[{"type": "LLM", "formats": ["pytorch"], "preference": 9}])
    first = settle([order()], [replace(llm(), generation="before")], engines=[plain]).deployments
    assert settle([order()], engines=[better, plain], before=first).deployments["chat"].launch.engine == "better"


def test_a_directory_goes_to_the_engine_that_is_made_for_what_it_holds() -> None:
    rows = {name: [{"type": "LLM", "formats": ["pytorch"], "holds": [file]}] for name, file in HOLDS.items()}
    engines = [engine(name, serves=serves) for name, serves in rows.items()]
    weights = replace(THERE, names=frozenset({"model.bin", "vocabulary.txt"}))
    found = settle([order(path="/w")], engines=engines, weights=weights)
    assert found.deployments["chat"].launch.engine == "b"
    nothing = waits(path="/w", engines=engines, weights=replace(THERE, names=frozenset()))
    assert "a: there is no config.json in /w; b: there is no *.bin in /w" in nothing.sentence


HOLDS = {"a": "config.json", "b": "*.bin"}


def test_a_definition_may_prefer_an_engine_and_the_entry_has_the_last_word() -> None:
    engines = [engine(name, serves=[{"type": "audio"}]) for name in ("a", "b")]
    audio = registration("audio", engine="B")
    assert settle([order(model="audio")], [audio], engines).deployments["chat"].launch.engine == "b"
    assert settle([order(model="audio", engine="a")], [audio], engines).deployments["chat"].launch.engine == "a"

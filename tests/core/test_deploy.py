"""The deploy file: what it takes, what it refuses and how defaults are merged."""

from __future__ import annotations

from typing import Any

import pytest

from xserve.core.deploy import FORBIDDEN, GATES, Entry, entries_of
from xserve.core.judge import judge
from xserve.files.scalars import SourceInt

from .samples import accepted, errors, only_error

CHAT = ("models", "chat")


def deploy(defaults: dict[str, Any] | None = None, /, **entry: Any) -> dict[str, Any]:
    """A deploy file with one entry, `chat`."""
    return {"version": 1, **({"defaults": defaults} if defaults else {}), "models": {"chat": entry}}


def entry_of(defaults: dict[str, Any] | None = None, /, **entry: Any) -> Entry:
    """The entry of an accepted file."""
    return entries_of(accepted(deploy(defaults, **entry), "deploy"))["chat"]


FULL = {
    "model": "custom-qwen-2.5",
    "type": "LLM",
    "path": "/srv/models/qwen",
    "engine": "llama.cpp",
    "format": "ggufv2",
    "size": "0_5",
    "quantization": "Q4_K_M",
    "replicas": 2,
    "gpus": [0, 1],
    "gpu_memory": 0.45,
    "lora": [{"name": "legal", "path": "/srv/lora/legal"}],
    "load": "always",
    "update": "new_first",
    "request_limit": 32,
    "aliases": ["gpt-3.5-turbo"],
    "env": {"OMP_NUM_THREADS": "1"},
    "options": {"ctx": 8192, "nested": {"a": [1]}},
}


def test_every_key_is_kept() -> None:
    assert entry_of(**FULL).model_dump() == FULL


def test_every_key_has_been_given_here() -> None:
    assert set(FULL) == set(Entry.model_fields)


@pytest.mark.parametrize("written", [None, {}])
def test_a_name_with_nothing_after_it_is_a_deployment_with_defaults(written: Any) -> None:
    value = accepted({"version": 1, "models": {"chat": written}}, "deploy")
    assert entries_of(value) == {"chat": Entry()}


@pytest.mark.parametrize("rest", [{}, {"models": {}}, {"models": None}, {"models": None, "defaults": None}])
def test_a_file_may_name_no_models(rest: dict[str, Any]) -> None:
    assert entries_of(accepted({"version": 1, **rest}, "deploy")) == {}


@pytest.mark.parametrize("key", FORBIDDEN)
def test_a_key_that_is_not_honoured_is_refused_with_its_reason_at_the_key(key: str) -> None:
    verdict = judge("deploy", deploy(**{key: "x"}))
    (fault,) = verdict.faults
    assert verdict.value is None
    assert (fault.path, fault.on_key) == ((*CHAT, key), True)
    assert fault.message == f"{key!r}: {FORBIDDEN[key]}"


@pytest.mark.parametrize("key", ["node", "idle_timeout", "pinned", "virtualenv"])
def test_what_comes_later_says_so(key: str) -> None:
    assert "not supported yet" in only_error(deploy(**{key: None}), "deploy")[1]


@pytest.mark.parametrize("key", sorted(GATES))
def test_a_gate_says_where_it_stands(key: str) -> None:
    assert "only xserve.yaml can open" in only_error(deploy(**{key: True}), "deploy")[1]


@pytest.mark.parametrize("key", ["node", "trust_remote_code"])
def test_refused_keys_are_refused_in_defaults_and_at_the_top_too(key: str) -> None:
    assert only_error(deploy({key: 1}), "deploy") == (("defaults", key), f"{key!r}: {FORBIDDEN[key]}")
    assert only_error({**deploy(), key: 1}, "deploy") == ((key,), f"{key!r}: {FORBIDDEN[key]}")


@pytest.mark.parametrize(
    ("key", "value"),
    [("load", "on_demand"), ("update", "old_first")],
)
def test_a_value_that_comes_later_says_so(key: str, value: str) -> None:
    path, message = only_error(deploy(**{key: value}), "deploy")
    assert path == (*CHAT, key)
    assert message.startswith(f"{value!r} is not supported yet; use ")


@pytest.mark.parametrize(
    ("document", "path", "hint"),
    [
        (deploy(replica=1), (*CHAT, "replica"), "did you mean 'replicas'?"),
        (deploy(quantisation="x"), (*CHAT, "quantisation"), "did you mean 'quantization'?"),
        (deploy({"replcas": 1}), ("defaults", "replcas"), "did you mean 'replicas'?"),
        (deploy({"options": {}}), ("defaults", "options"), "unknown key 'options'; "),
        ({**deploy(), "model": {}}, ("model",), "did you mean 'models'?"),
        (deploy(zzz=1), (*CHAT, "zzz"), "valid are engine, replicas"),
        (deploy(typ="LLM"), (*CHAT, "typ"), "did you mean 'type'?"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_name(
    document: dict[str, Any], path: tuple[str, ...], hint: str
) -> None:
    found, message = only_error(document, "deploy")
    assert found == path
    assert message.startswith("unknown key ")
    assert hint in message


def test_an_unknown_type_names_the_nearest() -> None:
    path, message = only_error(deploy(type="LM"), "deploy")
    assert path == (*CHAT, "type")
    assert message.endswith("did you mean 'LLM'?")


@pytest.mark.parametrize("gpus", ["auto", "none", 0, 2, [0], [1, 3], []])
def test_gpus(gpus: Any) -> None:
    assert entry_of(gpus=gpus).gpus == gpus


@pytest.mark.parametrize("gpus", [-1, "two", "2", ["a"], [-1], True, 1.5, None, {}, [0, 0]])
def test_what_is_no_wish_for_gpus_is_one_error(gpus: Any) -> None:
    path, message = only_error(deploy(gpus=gpus), "deploy")
    assert path == (*CHAT, "gpus")
    assert message == "must be auto, none, a number of GPUs, or a list of different GPU indices"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("replicas", "2"),
        ("replicas", True),
        ("replicas", 2.5),
        ("replicas", -1),
        ("replicas", 65),
        ("request_limit", 0),
        ("request_limit", "8"),
        ("aliases", "x"),
        ("aliases", None),
        ("options", []),
        ("env", []),
        ("path", "models/qwen"),
        ("size", "0.5"),
        ("model", "a/b"),
    ],
)
def test_our_own_file_takes_only_what_is_meant(key: str, value: Any) -> None:
    assert only_error(deploy(**{key: value}), "deploy")[0] == (*CHAT, key)


@pytest.mark.parametrize("uid", ["a b", "-x", "x-rep0", "a" * 101])
def test_a_public_name_that_is_none_is_an_error_at_its_key(uid: str) -> None:
    verdict = judge("deploy", {"version": 1, "models": {uid: None}})
    (fault,) = verdict.faults
    assert (fault.path, fault.on_key) == (("models", uid), True)


def test_an_alias_is_a_public_name() -> None:
    assert only_error(deploy(aliases=["ok", "a b"]), "deploy")[0] == (*CHAT, "aliases", 1)


def test_names_and_sizes_written_as_numbers_keep_their_text() -> None:
    value = accepted({"version": 1, "models": {SourceInt("07"): {"size": SourceInt("05"), "env": {"N": 1}}}}, "deploy")
    entry = entries_of(value)["07"]
    assert entry.size == "05"
    assert entry.env == {"N": "1"}


@pytest.mark.parametrize("version", [None, 2, "1"])
def test_the_version_is_one(version: Any) -> None:
    assert only_error({**deploy(), "version": version}, "deploy")[0] == ("version",)


def test_the_version_is_required() -> None:
    assert only_error({"models": {}}, "deploy") == ((), "the required key 'version' is missing")


def test_faults_of_several_entries_are_all_reported() -> None:
    verdict = judge("deploy", {"version": 1, "models": {"a": {"replicas": -1}, "b": None, "c": {"node": "x"}}})
    assert {path for path, _ in errors(verdict)} == {("models", "a", "replicas"), ("models", "c", "node")}


# -- defaults ------------------------------------------------------------------------------------------------------


def test_an_entry_gets_the_defaults_of_its_file() -> None:
    entry = entry_of({"engine": "fake", "replicas": 3, "request_limit": 4})
    assert (entry.engine, entry.replicas, entry.request_limit) == ("fake", 3, 4)


def test_what_an_entry_says_wins_even_if_it_says_the_built_in_default() -> None:
    entry = entry_of({"engine": "fake", "replicas": 3, "gpus": 1}, engine=None, replicas=1, gpus="auto")
    assert (entry.engine, entry.replicas, entry.gpus) == (None, 1, "auto")


def test_environments_are_merged_key_by_key() -> None:
    entry = entry_of({"env": {"A": "1", "B": "1"}}, env={"B": "2", "C": "2"})
    assert entry.env == {"A": "1", "B": "2", "C": "2"}
    assert entry_of({"env": {"A": "1"}}).env == {"A": "1"}


def test_defaults_reach_an_entry_with_nothing_after_its_name() -> None:
    value = accepted({"version": 1, "defaults": {"replicas": 2}, "models": {"chat": None}}, "deploy")
    assert entries_of(value)["chat"].replicas == 2


def test_an_accepted_value_says_only_what_was_written_and_is_accepted_again() -> None:
    document = deploy({"env": {"A": "1"}}, replicas=2)
    value = accepted(document, "deploy")
    assert value == document
    assert accepted(value, "deploy") == value


# -- memory and adapters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "memory"), [("14GiB", 14 << 30), ("1.5 GB", 1_500_000_000), (0.45, 0.45), (1, 1.0), (2 << 30, 2 << 30)]
)
def test_memory_is_bytes_or_a_share_of_a_card(written: Any, memory: float) -> None:
    assert entry_of(gpu_memory=written).gpu_memory == memory


@pytest.mark.parametrize("written", [0, -1, 1.5, 14, True, "14", "14 gigs", "GiB"])
def test_what_is_no_amount_of_memory_is_told_how_to_write_one(written: Any) -> None:
    place, sentence = only_error(deploy(gpu_memory=written), "deploy")
    assert place == ("models", "chat", "gpu_memory")
    assert "write for example 14GiB, or 0.45" in sentence


def test_an_adapter_needs_an_absolute_path() -> None:
    place, sentence = only_error(deploy(lora=[{"name": "legal", "path": "lora/legal"}]), "deploy")
    assert place == ("models", "chat", "lora", 0, "path")
    assert "relative" in sentence


def test_two_adapters_of_one_entry_have_two_names() -> None:
    twice = [{"name": "legal", "path": "/a"}, {"name": "legal", "path": "/b"}]
    place, sentence = only_error(deploy(lora=twice), "deploy")
    assert place == ("models", "chat", "lora")
    assert sentence == "two adapters are called 'legal'; each needs a name of its own"

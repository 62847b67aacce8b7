"""What Xinference accepts and cannot serve is one error here, where it was written; the rest is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from xserve.core.judge import judge
from xserve.files.scalars import SourceFloat, SourceInt

from .samples import accepted, errors, only_error, template, warnings, with_spec, without

SPEC = ("model_specs", 0)
GGUF = {"model_format": "ggufv2", "quantization": "Q4_K_M", "model_uri": None, "model_id": "org/x"}


@pytest.mark.parametrize("name", ["llm", "embedding", "rerank"])
@pytest.mark.parametrize(
    ("specs", "message"),
    [([], "must not be empty"), (None, "must be a list, this is null"), ({}, "must be a list")],
)
def test_specs_must_be_a_list_of_some(name: str, specs: Any, message: str) -> None:
    assert only_error(template(name, model_specs=specs)) == (("model_specs",), message)


@pytest.mark.parametrize("name", ["llm", "embedding", "rerank"])
def test_a_spec_without_a_source_has_no_weights(name: str) -> None:
    path, message = only_error(with_spec(name, model_uri=None, model_id=None))
    assert path == SPEC
    assert message.startswith("give model_uri (a path) or model_id (a hub's repository)")


@pytest.mark.parametrize("name", ["image", "audio"])
def test_a_kind_without_specs_needs_a_source_too(name: str) -> None:
    path, message = only_error(template(name, model_uri=None, model_id=None))
    assert path == ()
    assert message.startswith("give model_uri")


@pytest.mark.parametrize("source", [{"model_id": "org/x", "model_uri": None}, {"model_uri": "/weights"}])
def test_either_source_is_enough(source: dict[str, Any]) -> None:
    accepted(with_spec("llm", **source))
    accepted(template("audio", **source))


def test_a_flexible_model_may_have_no_weights_at_all() -> None:
    accepted(without(template("flexible"), "model_uri", "model_id"))


def test_gguf_from_a_hub_needs_a_file_name() -> None:
    path, message = only_error(with_spec("llm", **GGUF))
    assert path == SPEC
    assert "model_file_name_template" in message
    accepted(with_spec("llm", **GGUF, model_file_name_template="x-{quantization}.gguf"))


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("s3://bucket/x", "unknown scheme s3://"),
        ("oci://image", "unknown scheme oci://"),
        ("weights/x", "is a relative path"),
        ("./weights", "is a relative path"),
        ("file://weights", "is a relative path"),
        ("", "is a relative path"),
        ("/with\x00nul", "NUL"),
    ],
)
def test_a_place_of_weights_is_an_absolute_path(uri: str, hint: str) -> None:
    path, message = only_error(with_spec("llm", model_uri=uri))
    assert path == (*SPEC, "model_uri")
    assert hint in message
    assert only_error(template("image", model_uri=uri)) == (("model_uri",), message)


@pytest.mark.parametrize("uri", ["/weights", "file:///weights", "FILE:///weights", "/with spaces/权重"])
def test_an_absolute_path_is_kept_as_written(uri: str) -> None:
    assert accepted(with_spec("llm", model_uri=uri))["model_specs"][0]["model_uri"] == uri


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (None, "must be a JSON object written as text"),
        ({}, "must be a JSON object written as text"),
        ("[]", "must be a JSON object written as text"),
        ("null", "must be a JSON object written as text"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
    ids=lambda given: str(given)[:20],
)
def test_launcher_args_are_a_json_object_as_text(given: Any, hint: str) -> None:
    path, message = only_error(template("flexible", launcher_args=given))
    assert path == ("launcher_args",)
    assert message.startswith(hint)


def test_launcher_args_are_kept_as_written_and_may_be_left_out() -> None:
    assert accepted(template("flexible", launcher_args=' {"task": "x"}'))["launcher_args"] == ' {"task": "x"}'
    assert accepted(without(template("flexible"), "launcher_args"))["launcher_args"] == "{}"


@pytest.mark.parametrize("given", ["", "a b", "a..b", "a.b.", "./launcher.py", "a-b", "1a.b"])
def test_a_launcher_is_a_dotted_path(given: str) -> None:
    path, message = only_error(template("flexible", launcher=given))
    assert path == ("launcher",)
    assert "is not a dotted Python path" in message


@pytest.mark.parametrize("given", ["my-family", "qwen2.5-instruct", ""])
def test_a_chat_template_is_a_template(given: str) -> None:
    path, message = only_error(template("llm", chat_template=given))
    assert path == ("chat_template",)
    assert "neither a Jinja template nor the name of a built-in family" in message


@pytest.mark.parametrize("given", [None, "{{ messages }}", "{% for m in messages %}x{% endfor %}"])
def test_a_jinja_template_is_kept(given: str | None) -> None:
    assert accepted(template("llm", chat_template=given))["chat_template"] == given


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("llm", "model_lang"),
        ("llm", "model_ability"),
        ("llm", "model_family"),
        ("embedding", "max_tokens"),
        ("embedding", "language"),
        ("image", "model_family"),
        ("audio", "model_family"),
        ("flexible", "model_name"),
    ],
)
def test_a_missing_key_is_named(name: str, key: str) -> None:
    assert only_error(without(template(name), key)) == ((), f"the required key {key!r} is missing")


def test_a_missing_key_of_a_spec_is_named_at_the_spec() -> None:
    document = template("llm")
    document["model_specs"] = [without(document["model_specs"][0], "quantization")]
    assert only_error(document) == (SPEC, "the required key 'quantization' is missing")


def test_a_reranker_may_leave_out_the_quantisation() -> None:
    document = template("rerank")
    document["model_specs"] = [without(document["model_specs"][0], "quantization")]
    assert accepted(document)["model_specs"][0]["quantization"] == "none"


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("llm", "version", 3, "must be 2, this is 3"),
        ("llm", "version", "2", "must be 2, this is '2'"),
        ("llm", "model_ability", [], "must not be empty"),
        ("llm", "model_ability", "chat", "must be a list, this is 'chat'"),
        ("llm", "context_length", 0, "must be greater than 0, this is 0"),
        ("llm", "context_length", "long", "must be a whole number, this is 'long'"),
        ("llm", "context_length", 32768.5, "must be a whole number, this is 32768.5"),
        ("llm", "cache_config", "x", "must be a mapping of keys to values, this is 'x'"),
        ("llm", "virtualenv", [], "must be a mapping of keys to values"),
        ("llm", "model_description", 1, "must be text, this is 1"),
        ("embedding", "dimensions", None, "must be a whole number, this is null"),
        ("audio", "multilingual", "maybe", "must be true or false, this is 'maybe'"),
    ],
)
def test_a_wrong_value_is_one_sentence_at_its_place(name: str, key: str, value: Any, message: str) -> None:
    assert only_error(template(name, **{key: value})) == ((key,), message)


def test_a_value_of_a_closed_list_names_the_nearest() -> None:
    path, message = only_error(template("llm", model_ability=["generate", "chta"]))
    assert path == ("model_ability", 1)
    assert message.endswith("did you mean 'chat'?")
    path, message = only_error(with_spec("llm", model_format="gguf"))
    assert path == (*SPEC, "model_format")
    assert message.endswith("did you mean 'ggufv2'?")


def test_an_embedding_knows_fewer_formats_than_an_llm() -> None:
    accepted(with_spec("llm", model_format="awq"))
    assert only_error(with_spec("embedding", model_format="awq"))[0] == (*SPEC, "model_format")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0_5", "0_5"),
        ("7", "7"),
        (7, "7"),
        (SourceInt("7"), "7"),
        (SourceInt("07"), "07"),
        ("235", "235"),
    ],
)
def test_a_size_keeps_its_source_text(written: Any, kept: str) -> None:
    assert (
        accepted(with_spec("llm", model_size_in_billions=written))["model_specs"][0]["model_size_in_billions"] == kept
    )


@pytest.mark.parametrize(("written", "better"), [(SourceFloat("0.5"), "0_5"), ("1.8", "1_8"), (0.5, "0_5")])
def test_a_size_with_a_point_says_how_to_write_it(written: Any, better: str) -> None:
    path, message = only_error(with_spec("llm", model_size_in_billions=written))
    assert path == (*SPEC, "model_size_in_billions")
    assert message.endswith(f"write {better!r}")


@pytest.mark.parametrize("written", ["7B", "", "-7", "1_", "_5", "1_2_3", "x", True, None])
def test_what_is_no_size_is_refused(written: Any) -> None:
    assert only_error(with_spec("llm", model_size_in_billions=written))[0] == (*SPEC, "model_size_in_billions")


def test_text_fields_keep_the_text_of_numbers() -> None:
    spec = with_spec("llm", model_revision=SourceInt("0123456"), quantization=SourceInt("4"))["model_specs"][0]
    value = accepted(template("llm", model_specs=[spec], model_lang=[SourceFloat("1.50")], model_family=SourceInt("7")))
    assert value["model_specs"][0]["model_revision"] == "0123456"
    assert value["model_specs"][0]["quantization"] == "4"
    assert value["model_lang"] == ["1.50"]
    assert value["model_family"] == "7"


def test_a_true_is_no_text() -> None:
    assert only_error(with_spec("llm", quantization=True))[0] == (*SPEC, "quantization")


@pytest.mark.parametrize(("written", "read"), [("32768", 32768), (32768.0, 32768), (SourceInt("32768"), 32768)])
def test_a_number_is_read_from_what_means_the_same(written: Any, read: int) -> None:
    value = accepted(template("llm", context_length=written, stop_token_ids=[written]))
    assert value["context_length"] == read
    assert value["stop_token_ids"] == [read]


def test_left_out_keys_get_what_xinference_gives_them() -> None:
    value = accepted(without(template("llm"), "context_length", "version"))
    assert value["context_length"] == 2048
    assert value["version"] == 2
    assert accepted(template("llm", context_length=None))["context_length"] is None


def test_what_a_file_says_of_being_built_in_does_not_count() -> None:
    assert accepted(template("llm", is_builtin=True))["is_builtin"] is False


# -- keys that nobody knows ----------------------------------------------------------------------------------------


def test_an_unknown_key_is_kept_with_a_warning_at_the_key() -> None:
    verdict = judge("model", template("llm", my_note={"a": [1]}))
    assert verdict.value is not None
    assert verdict.value["my_note"] == {"a": [1]}
    (fault,) = verdict.faults
    assert (fault.path, fault.on_key) == (("my_note",), True)
    assert fault.message == "unknown key 'my_note' is kept, but nothing reads it"


def test_unknown_keys_inside_are_found_too() -> None:
    document = with_spec("llm", my_note=1)
    document["virtualenv"] = {**document["virtualenv"], "my_pin": 1}
    verdict = judge("model", document)
    assert {path for path, _ in warnings(verdict)} == {("virtualenv", "my_pin"), (*SPEC, "my_note")}
    assert verdict.value is not None
    assert verdict.value["model_specs"][0]["my_note"] == 1


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("llm", "chat_tempalte", "chat_template"),
        ("llm", "stop_token_id", "stop_token_ids"),
        ("embedding", "cache_confg", "cache_config"),
        ("audio", "model_abilities", "model_ability"),
    ],
)
def test_a_near_miss_of_an_absent_key_is_an_error_at_the_key(name: str, wrong: str, right: str) -> None:
    verdict = judge("model", {**without(template(name), right), wrong: None})
    (fault,) = verdict.faults
    assert (fault.path, fault.on_key) == ((wrong,), True)
    assert fault.message == f"unknown key {wrong!r}; did you mean {right!r}?"


def test_a_near_miss_of_a_key_that_is_there_is_only_unknown() -> None:
    assert warnings(judge("model", template("llm", chat_templates="x")))[0][0] == ("chat_templates",)


def test_a_near_miss_inside_a_spec_is_an_error_there() -> None:
    path, message = only_error(with_spec("llm", model_fil_name_template="x"))
    assert path == (*SPEC, "model_fil_name_template")
    assert "model_file_name_template" in message


@pytest.mark.parametrize("key", ["cache_status", "download_hubs", "featured", "updated_at", "prompt_style"])
def test_keys_that_a_listing_adds_are_no_remark_worth(key: str) -> None:
    assert judge("model", template("llm", **{key: None})).faults == ()


@pytest.mark.parametrize("key", ["trust_remote_code", "model_roots", "insecure_no_auth"])
def test_a_gate_key_in_a_definition_is_an_error(key: str) -> None:
    verdict = judge("model", template("llm", **{key: True}))
    assert verdict.value is None
    assert [path for path, message in errors(verdict) if "only xserve.yaml can open" in message] == [(key,)]
    assert only_error(with_spec("llm", **{key: True}))[0] == (*SPEC, key)


def test_several_faults_are_all_reported() -> None:
    verdict = judge("model", template("llm", model_name="a/b", context_length=-1, model_ability=["sing"]))
    assert {path for path, _ in errors(verdict)} == {("model_name",), ("context_length",), ("model_ability", 0)}

"""Tool calls are read in every way that models write them, however the text arrives."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xserve_engine.callformats import BY_NAME
from xserve_engine.templates import Template, TemplateError
from xserve_engine.toolcalls import demand, parser_for

from .corpus import ARGUMENTS, ASKED, ENDS, SPECIAL, WEATHER, called, folder, template

Calls = list[tuple[str, Any]]
marks = [family.begin for family in BY_NAME.values() if family.begin]
ends = [family.end for family in BY_NAME.values() if family.end]
good = ['{"name": "f", "arguments": {"a": 1}}', '[{"name": "f"}]', "f[ARGS]{}", "<function=f>\n</function>"]
# Texts in which marks, parts of them, calls and near misses are frequent.
texts = st.lists(
    st.sampled_from([*marks, *ends, *good, "{", '"', "<tool", "[TOOL", "</", " ", "\n", "a", "b c", "ß"])
).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["</tool_call>", "<tool_call>", "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def read(name: str | None, pieces: list[str], source: str = "", tools: Any = (WEATHER,)) -> tuple[str, Calls]:
    """The text and the calls of an answer that arrives in these pieces."""
    parser = parser_for(name, source, tools)
    assert parser is not None
    given_out = [piece for text in pieces for piece in parser.feed(text)] + parser.finish()
    deltas = [piece for piece in given_out if isinstance(piece, dict)]
    assert [delta["index"] for delta in deltas] == list(range(len(deltas)))
    assert all(delta["type"] == "function" and delta["id"] for delta in deltas)
    calls = [(delta["function"]["name"], json.loads(delta["function"]["arguments"])) for delta in deltas]
    return "".join(piece for piece in given_out if isinstance(piece, str)), calls


@given(st.sampled_from(sorted(BY_NAME)), texts, st.data())
def test_any_cut_of_the_text_gives_the_same(name: str, text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(name, pieces) == read(name, [text])


@given(st.sampled_from(sorted(BY_NAME)), texts)
def test_an_answer_without_calls_comes_out_as_it_is(name: str, text: str) -> None:
    said, calls = read(name, list(text))
    if not calls:
        assert said == text


@given(st.lists(st.dictionaries(st.text(), values, max_size=3), min_size=1, max_size=3), st.booleans())
def test_what_hermes_models_write_is_read_back_whatever_the_arguments(arguments: list[Any], ascii_only: bool) -> None:
    """A mark within an argument is a part of it."""
    blocks = [json.dumps({"name": "f", "arguments": one}, ensure_ascii=ascii_only) for one in arguments]
    text = "Well.\n" + "\n".join(f"<tool_call>\n{block}\n</tool_call>" for block in blocks)
    assert read("hermes", list(text)) == ("Well.", [("f", one) for one in arguments])


RECORDED = [
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "Qwen3-Coder",
    "Qwen3.5-4B",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "NousResearch-Hermes-4-14B",
    "meta-llama-Llama-3.1-8B-Instruct",
    "mistralai-Mistral-7B-Instruct-v0.3",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "Mistral-Small-3.2-24B-Instruct-2506",
    "mistralai-Ministral-3-3B-Instruct-2512",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B@56a144",
    "deepseek-ai-DeepSeek-V3.1",
    "zai-org-GLM-4.5V",
]


@pytest.mark.parametrize("model", RECORDED)
def test_a_call_as_the_models_own_template_writes_it_is_read_back(model: str) -> None:
    """The family is found out from the template, and the call from what it writes for an earlier one."""
    said, calls = read(None, list(written(template(model))), template(model))
    assert calls == [("weather", ARGUMENTS)]
    assert '"' not in said


def test_most_templates_in_the_wild_that_bear_a_known_mark_are_read_back() -> None:
    sources = [path.read_text() for path in sorted(folder().glob("*.jinja"))]
    marked = [source for source in sources if parser_for(None, source)]
    assert len(marked) > 250
    assert sum(_reads_back(source) for source in marked) > 0.9 * len(marked)


def _reads_back(source: str) -> bool:
    try:
        return read(None, [written(source)], source)[1][-1:] == [("weather", ARGUMENTS)]
    except TemplateError:
        return False


def written(source: str) -> str:
    """What the template writes for a message that calls the tool, without the mark of its end."""
    program = Template(source, SPECIAL)
    before, whole = (
        program.render(messages, [WEATHER], add_generation_prompt=False)
        for messages in ([ASKED], [ASKED, called(json.dumps(ARGUMENTS))])
    )
    text = whole.removeprefix(before) if whole.startswith(before) else whole
    for end in ENDS:
        text = text.removesuffix("\n").removesuffix(end)
    return text.rpartition("<|end_header_id|>")[2]


def test_a_template_without_a_known_mark_has_no_parser() -> None:
    assert parser_for(None, template("mistralai-Mistral-7B-Instruct-v0.2")) is None


def test_a_parser_that_is_not_known_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no tool parser nonsense; there are .*hermes"):
        parser_for("nonsense", "")


@pytest.mark.parametrize("name", ["Qwen3_Coder", "qwen3-coder"])
def test_parsers_are_named_as_definitions_spell_them(name: str) -> None:
    assert parser_for(name, "") is not None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hermes", "Use <tool_call> so: <tool_call>nonsense</tool_call>."),
        ("hermes", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "f", "arguments": {"a": "cut'),
        ("qwen3-coder", "<tool_call><function=f></tool_call>"),
        ("mistral", "[TOOL_CALLS]not a call"),
        ("llama3", '{"answer": 5}'),
        ("llama3", "<|python_tag|>print(5)"),
        ("deepseek-v3", "<｜tool▁calls▁begin｜>f<｜tool▁calls▁end｜>"),
        ("demanded", '[{"name": "f", "arguments": {'),
        ("hermes", "<tool_call>" + "[" * 100_000 + "</tool_call>"),
    ],
)
def test_what_is_no_call_stays_text(name: str, text: str) -> None:
    assert read(name, [text]) == (text, [])


def test_a_good_call_is_found_after_a_bad_one() -> None:
    text = 'a <tool_call>bad</tool_call> b <tool_call>{"name": "f"}</tool_call> c'
    said, calls = read("hermes", list(text))
    assert said == "a <tool_call>bad</tool_call> bc"
    assert calls == [("f", {})]


def test_a_call_is_given_out_before_the_answer_ends() -> None:
    parser = parser_for("hermes", "")
    assert parser is not None
    (delta,) = parser.feed('<tool_call>{"name": "f"}</tool_call>')
    assert isinstance(delta, dict)


def test_a_last_call_without_its_end_mark_counts() -> None:
    """Some models end their answer right after the call."""
    assert read("hermes", ['<tool_call>{"name": "f"}']) == ("", [("f", {})])


def test_untyped_values_are_read_as_the_tools_parameters_say() -> None:
    text = "<tool_call><function=weather>" + "".join(
        f"<parameter={key}>\n{value}\n</parameter>" for key, value in (("city", "10"), ("days", "10"), ("new", "10"))
    )
    assert read("qwen3-coder", [text + "</function></tool_call>"]) == (
        "",
        [("weather", {"city": "10", "days": 10, "new": "10"})],
    )


# Calls that are demanded

OTHER = {"type": "function", "function": {"name": "now"}}


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_nothing_is_demanded_where_the_model_may_choose(choice: str | None) -> None:
    assert demand([WEATHER], choice) is None


def test_a_demanded_call_is_one_of_the_tools_and_is_read_back() -> None:
    schema = demand([WEATHER, OTHER], "required")
    assert schema is not None
    calls = [{"name": "weather", "arguments": ARGUMENTS}, {"name": "now", "arguments": {}}]
    jsonschema.validate(calls, schema)
    assert read("demanded", [json.dumps(calls)]) == ("", [("weather", ARGUMENTS), ("now", {})])
    invented = {"name": "weather", "arguments": {"country": "Italy"}}
    for wrong in ([], [{"name": "else", "arguments": {}}], [{"name": "weather", "arguments": {"city": 1}}], [invented]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_a_demanded_call_is_alone_where_the_client_takes_one_at_a_time() -> None:
    schema = demand([WEATHER, OTHER], "required", parallel=False)
    call = {"name": "now", "arguments": {}}
    assert schema is not None
    jsonschema.validate([call], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([call, call], schema)


def test_a_named_function_is_called_once() -> None:
    schema = demand([WEATHER, OTHER], {"type": "function", "function": {"name": "now"}})
    call = {"name": "now", "arguments": {}}
    jsonschema.validate([call], schema)
    for wrong in ([call, call], [{"name": "weather", "arguments": {}}]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_references_within_a_tools_parameters_are_followed() -> None:
    parameters = {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/Time"}},
        "$defs": {"Time": {"type": "integer"}},
    }
    schema = demand([{"type": "function", "function": {"name": "f", "parameters": parameters}}], "required")
    jsonschema.validate([{"name": "f", "arguments": {"at": 5}}], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{"name": "f", "arguments": {"at": "five"}}], schema)


@pytest.mark.parametrize(
    ("tools", "choice", "sentence"),
    [
        ([], "required", "brings no tools"),
        ([WEATHER], {"type": "function", "function": {"name": "else"}}, "names else"),
        ([WEATHER], "always", "must be"),
        ([WEATHER], {"type": "function"}, "must be"),
    ],
)
def test_a_choice_that_cannot_be_met_is_refused(tools: Any, choice: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        demand(tools, choice)

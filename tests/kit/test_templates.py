"""Chat templates are rendered as their makers meant it, and can do no harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from xserve_engine.messages import Form
from xserve_engine.templates import Template, TemplateError, variables_of

from .corpus import ARGUMENTS, ASKED, SPECIAL, WEATHER, called, folder, template


def rendered(source: str, *messages: Mapping[str, Any], **variables: Any) -> str:
    return Template(source, SPECIAL).render(messages or [ASKED], **variables)


# As makers meant it


def test_a_prompt_ends_where_the_model_goes_on() -> None:
    prompt = rendered(template("Qwen-Qwen3-0.6B"), {"role": "system", "content": "Be brief."}, ASKED)
    assert prompt == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is the weather?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_switch_for_thinking_reaches_the_template() -> None:
    source = template("Qwen-Qwen3-0.6B")
    assert rendered(source, enable_thinking=False).endswith("<think>\n\n</think>\n\n")
    assert not rendered(source, enable_thinking=True).endswith("</think>\n\n")


def test_the_templates_of_the_wild_show_what_was_asked() -> None:
    """In whatever form a client sends it. What is left are templates that ask for variables or roles of their own."""
    sources = [path.read_text() for path in sorted(folder().glob("*.jinja"))]
    assert len(sources) > 700
    for content in ("What is the weather?", [{"type": "text", "text": "What is the weather?"}]):
        assert sum(_shows(source, content) for source in sources) > 0.97 * len(sources)


def _shows(source: str, content: Any) -> bool:
    try:
        return "What is the weather?" in rendered(source, {"role": "user", "content": content})
    except TemplateError:
        return False


# Forms


@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("Qwen-Qwen3-0.6B", Form(strings=True, parts=False, objects=True, empty="")),
        ("deepseek-ai-DeepSeek-V3.1", Form(strings=True, parts=False, objects=True, empty=None)),
        ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B@56a144", Form(strings=True, parts=False, objects=False, empty=None)),
        ("zai-org-GLM-4.5V", Form(strings=True, parts=True, objects=True, empty=None)),
        ("Qwen-Qwen2.5-VL-7B-Instruct", Form(strings=True, parts=True, objects=True, empty="")),
    ],
)
def test_what_a_template_reads_is_found_out(model: str, form: Form) -> None:
    assert Template(template(model), SPECIAL).form == form


@pytest.mark.parametrize(
    "model",
    [
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B@56a144",
        "deepseek-ai-DeepSeek-V3.1",
        "Qwen-Qwen3-0.6B",
        "Qwen-QwQ-32B@16488a",
    ],
)
@pytest.mark.parametrize("content", [None, ""])
def test_an_earlier_call_is_written_as_json(model: str, content: str | None) -> None:
    answer = {"role": "tool", "tool_call_id": "123456789", "content": "sunny"}
    prompt = rendered(template(model), ASKED, called(json.dumps(ARGUMENTS), content), answer, tools=[WEATHER])
    call = prompt.rpartition("weather")[2]
    assert json.JSONDecoder().raw_decode(call[call.index('{"city') :])[0] == ARGUMENTS
    assert "None" not in prompt


def test_a_template_that_takes_parts_alone_is_given_parts() -> None:
    source = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
    assert rendered(source) == ASKED["content"]


def test_texts_in_parts_are_joined_for_a_template_that_takes_strings_alone() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rendered("{{ 'Q: ' + messages[0].content }}", {"role": "user", "content": parts}) == "Q: a\nb"


def test_a_picture_for_a_template_that_takes_text_alone_is_refused() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(TemplateError, match="takes text alone"):
        rendered("{{ 'Q: ' + messages[0].content }}", {"role": "user", "content": picture})


@pytest.mark.parametrize("wrong", ["hello", {"role": "assistant", "tool_calls": ["f"]}])
def test_messages_of_a_wrong_shape_are_refused(wrong: Any) -> None:
    with pytest.raises(TemplateError, match="must be an object"):
        rendered("{{ messages }}", wrong)


# Additions that makers count on


def test_json_is_written_without_html_escapes() -> None:
    assert rendered("{{ tools | tojson }}", tools=[{"<": "ü"}]) == '[{"<": "ü"}]'


def test_loops_can_be_left_and_know_their_place() -> None:
    source = (
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{% if loop.last %}!{% endif %}{% break %}{% endfor %}"
    )
    assert rendered(source, ASKED, ASKED) == "1/2"
    assert rendered("{% for m in messages if m.role == 'user' %}{{ loop.revindex }}{% endfor %}", ASKED, ASKED) == "21"


def test_what_is_marked_for_training_is_rendered() -> None:
    assert rendered("{% generation %}a{{ bos_token }}{% endgeneration %}") == "a<s>"


def test_the_day_can_be_told() -> None:
    assert len(rendered("{{ strftime_now('%Y-%m-%d') }}")) == 10


def test_a_templates_own_refusal_is_passed_on() -> None:
    with pytest.raises(TemplateError, match="no system message"):
        rendered("{{ raise_exception('no system message, please') }}")


# Harm

HARMFUL = {
    "reaches for the interpreter": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "reaches for it by a filter": "{{ (''|attr('__class__')).__mro__ }}",
    "reaches for it by a format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "changes the messages": "{{ messages.append(1) }}",
    "changes them by the class": "{{ dict.update(messages[0], {}) }}",
    "turns without end": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "turns over its own text": (
        "{% set ns = namespace(t='x' * 9999) %}{% for a in ns.t %}{% for b in ns.t %}{% endfor %}{% endfor %}"
    ),
    "calls itself without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "calls itself ever more often": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}"
    ),
    "makes a long range": "{{ range(10 ** 9) | list }}",
    "repeats a text": "{{ 'x' * 10 ** 9 }}",
    "repeats a list": "{{ [1] * 10 ** 9 }}",
    "makes a vast number": "{{ 9 ** 99999 }}",
    "doubles its output": (
        "{% set n = namespace(t='x' * 9999) %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}{{ n.t }}{% endfor %}"
    ),
}


@pytest.mark.parametrize("source", HARMFUL.values(), ids=HARMFUL)
def test_a_template_that_does_harm_is_stopped(source: str) -> None:
    with pytest.raises(TemplateError):
        rendered(source)


def test_a_long_conversation_with_tools_is_within_the_limits() -> None:
    answer = {"role": "tool", "tool_call_id": "123456789", "content": "sunny " * 100}
    turns = [ASKED, called(json.dumps(ARGUMENTS)), answer, {"role": "assistant", "content": "Sunny."}] * 500
    assert "sunny" in rendered(template("Qwen-Qwen3-0.6B"), *turns, tools=[WEATHER] * 50)


@pytest.mark.parametrize("source", ["{% if messages %}", "{{ messages | nonsense }}", "{% nonsense %}"])
def test_a_template_that_cannot_be_read_is_refused(source: str) -> None:
    with pytest.raises(TemplateError, match="cannot be read"):
        Template(source, SPECIAL)


# A request's variables


def test_a_request_switches_thinking_by_both_its_names() -> None:
    expected = {"enable_thinking": False, "thinking": False, "tone": "dry"}
    assert variables_of({"enable_thinking": False}, {"enable_thinking": True, "tone": "dry"}) == expected


def test_a_requests_own_variables_win() -> None:
    body = {"enable_thinking": False, "chat_template_kwargs": {"enable_thinking": True}}
    assert variables_of(body, {})["enable_thinking"] is True


@pytest.mark.parametrize("switch", ["no", 0, []])
def test_a_switch_is_on_or_off(switch: Any) -> None:
    """A text that says no would be taken for a yes."""
    with pytest.raises(TemplateError, match="enable_thinking"):
        variables_of({"enable_thinking": switch}, {})


@pytest.mark.parametrize("body", [{"chat_template_kwargs": {"messages": []}}, {"chat_template_kwargs": "x"}])
def test_a_request_may_not_set_what_is_not_the_templates_own(body: dict[str, Any]) -> None:
    with pytest.raises(TemplateError, match="chat_template_kwargs"):
        variables_of(body, {})

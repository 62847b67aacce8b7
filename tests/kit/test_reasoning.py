"""Thoughts are told from answers, however the text arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xserve_engine.reasoning import Splitter, opens
from xserve_engine.templates import Template

from .corpus import ASKED, SPECIAL, template

START, END = "<think>", "</think>"
# Texts in which the tags, parts of them and white space are frequent.
texts = st.lists(st.sampled_from([START, END, "<", "think>", "</", "</th", " ", "\n", "a", "b c", "ß"])).map("".join)


def split(pieces: list[str], start: str = START, end: str = END, opened: bool = False) -> tuple[str, str]:
    """The thoughts and the answer of a text that arrives in these pieces."""
    splitter = Splitter(start, end, open=opened)
    given_out = [piece for text in pieces for piece in splitter.feed(text)] + splitter.finish()
    assert all(text for _, text in given_out)
    kinds = ("reasoning", "content")
    thoughts, answer = ("".join(text for kind, text in given_out if kind == wanted) for wanted in kinds)
    return thoughts, answer


@given(texts, st.booleans(), st.data())
def test_any_cut_of_the_text_gives_the_same(text: str, opened: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(pieces, opened=opened) == split([text], opened=opened)


@given(texts, st.booleans())
def test_nothing_is_lost_but_the_tags_and_the_space_beside_them(text: str, opened: bool) -> None:
    """Every character that is neither space nor part of a tag comes out once, on its side, in its order."""
    thoughts, answer = split(list(text), opened=opened)
    rest = text
    for part in (START, END, " ", "\n"):
        rest, thoughts, answer = rest.replace(part, ""), thoughts.replace(part, ""), answer.replace(part, "")
    assert sorted(rest) == sorted(thoughts + answer)


@given(texts.filter(lambda text: not text.lstrip().startswith("<")))
def test_an_answer_without_thoughts_comes_out_as_it_is(text: str) -> None:
    assert split(list(text)) == ("", text)


@pytest.mark.parametrize(
    ("text", "opened", "thoughts", "answer"),
    [
        ("<think>\nIt is 5.\n</think>\n\nFive.\n", False, "It is 5.", "Five.\n"),
        ("It is 5.\n</think>\n\nFive.", True, "It is 5.", "Five."),
        ("<think>\n\n</think>\n\nFive.", False, "", "Five."),
        ("Still thinking", True, "Still thinking", ""),
        ("<think>Still", False, "Still", ""),
        ("Models write <think> and </think>.", False, "", "Models write <think> and </think>."),
        ("<think>a</think>In HTML, <think> is no tag.", False, "a", "In HTML, <think> is no tag."),
        ("<think>a < b </thin </think>c", False, "a < b </thin", "c"),
        ("<thi", False, "", "<thi"),
        ("", True, "", ""),
    ],
)
def test_thoughts_stand_at_the_head(text: str, opened: bool, thoughts: str, answer: str) -> None:
    assert split([text], opened=opened) == split(list(text), opened=opened) == (thoughts, answer)


def test_tags_are_what_the_definition_says() -> None:
    """Granite's are whole sentences; space around a declared tag is not part of it."""
    start, end = "Here is my thought process:", "\nHere is my response:\n"
    assert split(list(f"{start} 2 and 3. Here is my response: 5"), start, end) == ("2 and 3.", "5")


@pytest.mark.parametrize(("start", "end"), [("", "</think>"), ("<think>", " ")])
def test_an_empty_tag_is_refused(start: str, end: str) -> None:
    with pytest.raises(ValueError, match="both tags"):
        Splitter(start, end)


def test_what_is_certain_is_given_out_at_once() -> None:
    splitter = Splitter(START, END)
    assert splitter.feed("<think>Well,") == [("reasoning", "Well,")]
    assert splitter.feed(" yes</") == [("reasoning", " yes")]
    assert splitter.feed("think>Yes") == [("content", "Yes")]


@pytest.mark.parametrize(
    ("model", "thinking", "opened"),
    [
        ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B@56a144", None, True),
        ("deepseek-ai-DeepSeek-V3.1", True, True),
        ("deepseek-ai-DeepSeek-V3.1", False, False),
        ("Qwen-Qwen3-0.6B", None, False),
        ("Qwen-Qwen3-0.6B", False, False),
        ("Qwen-QwQ-32B@16488a", None, True),
        ("Qwen-Qwen3-4B-Thinking-2507", None, True),
    ],
)
def test_a_tag_that_the_models_own_template_opened_is_noticed(model: str, thinking: bool | None, opened: bool) -> None:
    variables = {} if thinking is None else {"enable_thinking": thinking}
    prompt = Template(template(model), SPECIAL).render([ASKED], **variables)
    assert opens(prompt, START, END) is opened

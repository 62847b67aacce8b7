"""Text is shown as its tokens come: characters whole, stop strings never, and nothing is lost, wherever it is cut."""

from __future__ import annotations

import functools
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..weights import model
from .harness import ENGINES
from .interpreters import interpreter

SCRIPT = Path(__file__).parent / "wording.py"
MIXED = "naïve 😀 漢字, 🏳️‍🌈 and 中文\n\tล"
DRAWN = 60  # answers of random tokens, most of which are no characters
CASES: dict[str, dict[str, Any]] = {
    "whole": {"text": MIXED},
    "cut within a character": {"text": "Hi 😀", "cut": {"text": 1}},
    "nothing but a part of a character": {"text": "😀", "cut": {"text": 1}},
    "nothing": {"text": ""},
    "special tokens": {"text": "a<|im_start|>b<|im_start|>"},
    "goes on": {"before": "The capital of France is", "text": " Paris"},
    "goes on within a character": {"before": "漢字😀", "cut": {"before": 1}, "text": "a"},
    "stop": {"text": "one two three", "stops": ["never", " two"]},
    "stop within a word": {"text": "wonderful days", "stops": ["erf"]},
    "stop of several tokens a character": {"text": "Hi 😀 there", "stops": ["😀"]},
    "first of two stops": {"text": "one two three", "stops": ["three", "two"]},
    "stop that only begins": {"text": "one two", "stops": ["two three"]},
    "stop that begins twice": {"text": "aaab", "stops": ["aab"]},
    "cut within a character after a stop's beginning": {"text": "one t😀", "cut": {"text": 1}, "stops": ["t!"]},
}


@functools.cache
def answers() -> dict[str, Any]:
    """What is said in each case, and in cases of random tokens."""
    python, lacking = interpreter("transformers")
    weights, problem = model("smollm2-hf")
    if lacking or problem:
        pytest.skip(lacking or problem)
    draw = random.Random(0)
    drawn = {f"drawn {number}": {"tokens": [draw.randrange(49_000) for _ in range(30)]} for number in range(DRAWN)}
    cases = CASES | drawn
    command = [python, str(SCRIPT), str(ENGINES / "_kit"), str(ENGINES / "transformers"), weights]
    told = subprocess.run(command, input=json.dumps([*cases.values()]), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return dict(zip(cases, json.loads(told.stdout.splitlines()[-1]), strict=True))


def shown(case: str) -> str:
    return "".join(answers()[case]["pieces"])


@pytest.mark.parametrize("case", [name for name in CASES if "stops" not in CASES[name] and "before" not in CASES[name]])
def test_the_pieces_are_the_whole(case: str) -> None:
    assert shown(case) == answers()[case]["whole"]
    assert answers()[case]["told"] == answers()[case]["ids"]


def test_random_tokens_lose_nothing_either() -> None:
    """Not their text, and not one token of those that log-probabilities are told of."""
    for number in range(DRAWN):
        case = answers()[f"drawn {number}"]
        assert "".join(case["pieces"]) == case["whole"]
        assert case["told"] == case["ids"]


def test_characters_are_shown_whole() -> None:
    assert not any("\ufffd" in piece for piece in answers()["whole"]["pieces"])
    assert len([piece for piece in answers()["whole"]["pieces"] if piece]) > 5


def test_an_answer_goes_on_from_its_prompt() -> None:
    """With the space before its first word; a character that the prompt left unfinished is not the prompt again."""
    assert shown("goes on") == " Paris"
    assert shown("goes on within a character") == "\ufffda"


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("stop", "one"),
        ("stop within a word", "wond"),
        ("stop of several tokens a character", "Hi "),
        ("first of two stops", "one "),
        ("stop that only begins", "one two"),
        ("stop that begins twice", "a"),
        ("cut within a character after a stop's beginning", "one t\ufffd"),
    ],
)
def test_a_stop_string_is_not_shown_and_what_only_begins_like_one_is(case: str, text: str) -> None:
    assert shown(case) == text


def test_the_tokens_of_a_stop_string_are_not_told() -> None:
    """Neither are those that alone would show nothing of it: parts of a character."""
    case = answers()["stop of several tokens a character"]
    assert case["told"] == case["ids"][: len(case["told"])]
    assert len(case["told"]) < 3

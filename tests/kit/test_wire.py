"""A body is read as JSON, or its client is told what is wrong with it."""

from __future__ import annotations

import json

import pytest
from xserve_engine.wire import HttpError, Request


def body(content: bytes) -> object:
    return Request("POST", "/", {}, content).json()


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b'{"prompt"', "not JSON"),
        (b'{"prompt": "\xff"}', "not JSON"),
        (b"[]", "JSON object"),
        (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"prompt": "\\ud83d"}', "surrogate"),
        (b'{"messages": [{"\\uDE00": 1}]}', "surrogate"),
    ],
)
def test_what_cannot_be_used_is_the_clients_fault(content: bytes, hint: str) -> None:
    with pytest.raises(HttpError, match=hint) as refused:
        body(content)
    assert refused.value.status == 400


@pytest.mark.parametrize("escaped", [True, False])
def test_characters_come_escaped_or_not(escaped: bool) -> None:
    value = {"prompt": "naïve 😀 \\ud83d"}
    assert body(json.dumps(value, ensure_ascii=escaped).encode()) == value

"""The engine transformers sees pictures: what it says of them is what the library says.

The model is tiny and untrained: its words are nonsense, but they depend on every picture.
"""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..weights import model
from .harness import Engine, until
from .roster.transformers import subjects

CHAT = "/v1/chat/completions"
WEIGHTS, LACKING = model("tiny-vlm")
(TEXT_SUBJECT,) = subjects()
SUBJECT = TEXT_SUBJECT.but(
    weights=WEIGHTS,
    missing=TEXT_SUBJECT.missing or LACKING,
    definition={"model_ability": ["chat", "vision"], "context_length": 2048},
)
pytestmark = [*SUBJECT.marks(), pytest.mark.timeout(600)]
LIMIT = 12


def png(*colour: int) -> str:
    """A square of one colour as a data URL."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 56
    rows = (b"\0" + bytes(colour) * side) * side
    out = io.BytesIO(b"")
    out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)))
    out.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def about(*urls: str) -> list[dict[str, Any]]:
    """A question about pictures."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is this?"}]}]


RED, BLUE = png(255, 0, 0), png(0, 0, 255)
QUESTIONS = [about(RED), about(BLUE), about(RED, BLUE), about(BLUE, RED), about()]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(SUBJECT, tmp_path_factory.mktemp("engine")) as started:
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def library() -> list[str]:
    """What the library says of each question."""
    given = [{"messages": messages, "limit": LIMIT} for messages in QUESTIONS]
    done = subprocess.run(
        [SUBJECT.python, str(Path(__file__).parent / "library" / "look.py"), WEIGHTS],
        input=json.dumps(given),
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    assert len(set(answers)) == len(answers)  # else a picture that is lost would pass
    return answers


def say(engine: Engine, messages: Any, **body: Any) -> str:
    """A greedy answer."""
    answer = engine.post(CHAT, messages=messages, **{"max_tokens": LIMIT, "temperature": 0, **body})
    return str(answer["choices"][0]["message"]["content"])


def test_answers_about_pictures_are_the_librarys(engine: Engine, library: list[str]) -> None:
    assert [say(engine, messages) for messages in QUESTIONS] == library


def test_pictures_and_texts_are_answered_side_by_side(engine: Engine, library: list[str]) -> None:
    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        assert list(pool.map(lambda messages: say(engine, messages), QUESTIONS)) == library


def test_a_text_goes_on_while_a_picture_is_talked_about(engine: Engine) -> None:
    endless = {"max_tokens": 1500, "ignore_eos": True, "temperature": 0}
    talk = engine.stream(CHAT, messages=about(RED), **endless)
    next(talk)
    assert say(engine, about())
    assert next(talk)
    assert engine.busy() == 1
    talk.close()
    until(lambda: engine.busy() == 0, "the departed client's work ended")


def test_a_stream_says_the_same(engine: Engine, library: list[str]) -> None:
    body = {"messages": QUESTIONS[0], "max_tokens": LIMIT, "temperature": 0}
    choices = [json.loads(data)["choices"][0] for data in list(engine.stream(CHAT, **body))[:-1]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == library[0]


def test_tokens_of_pictures_are_counted(engine: Engine) -> None:
    usage = [
        engine.post(CHAT, messages=messages, max_tokens=1)["usage"]["prompt_tokens"] for messages in QUESTIONS[1:3]
    ]
    assert usage[1] > usage[0] + 16


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://example.org/cat.png", "data: URL"),
        ("file:///etc/passwd", "data: URL"),
        ("data:image/png;base64,AAAA", "cannot be read"),
        ("data:image/png;base64,!!!", "cannot be read"),
    ],
)
def test_what_is_no_picture_is_refused(engine: Engine, url: str, hint: str) -> None:
    status, answer = engine.ask("POST", CHAT, {"messages": about(url)})
    assert status == 400, answer
    assert hint in json.loads(answer)["error"]["message"]

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


def head(width: int, height: int) -> str:
    """What a picture of that size begins with, and no more."""
    size = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + size + struct.pack(">I", zlib.crc32(size[4:])) + struct.pack(">I4s", 9, b"IDAT")
    return f"data:image/png;base64,{base64.b64encode(whole).decode()}"


def about(*urls: str) -> list[dict[str, Any]]:
    """A question about pictures."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is this?"}]}]


RED, BLUE = png(255, 0, 0), png(0, 0, 255)
DAMAGED = f"data:image/png;base64,{base64.b64encode(base64.b64decode(RED[22:]).replace(b'IDAT', b'IDAX')).decode()}"
VAST = head(8000, 8000)
QUESTIONS = [about(RED), about(BLUE), about(RED, BLUE), about(BLUE, RED), about()]
ADAPTED = [about(RED), about()]  # asked of the adapter, too


def run(script: str, *arguments: str, given: object = None) -> str:
    """What a script of `library/` prints, run by the engine's interpreter."""
    done = subprocess.run(
        [SUBJECT.python, str(Path(__file__).parent / "library" / script), WEIGHTS, *arguments],
        input=json.dumps(given),
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the adapter `one`, which changes both how pictures are seen and what is said of them."""
    folder = tmp_path_factory.mktemp("adapters")
    run("adapter.py", str(folder), "one")
    return folder


@pytest.fixture(scope="module")
def engine(adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine with the adapter, whose pictures cannot do without the text's batch, and the other way round."""
    subject = SUBJECT.but(launch={"lora": [{"name": "one", "path": str(adapters / "one")}]})
    with Engine(subject, tmp_path_factory.mktemp("engine")) as started:
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def library(adapters: Path) -> list[str]:
    """What the library says of each question, and with the adapter."""
    given = [{"messages": messages, "limit": LIMIT} for messages in QUESTIONS]
    given += [{"messages": messages, "limit": LIMIT, "adapter": "one"} for messages in ADAPTED]
    answers: list[str] = json.loads(run("look.py", str(adapters), given=given))
    assert len(set(answers)) == len(answers)  # else a picture that is lost would pass
    return answers


def say(engine: Engine, messages: Any, **body: Any) -> str:
    """A greedy answer."""
    answer = engine.post(CHAT, messages=messages, **{"max_tokens": LIMIT, "temperature": 0, **body})
    return str(answer["choices"][0]["message"]["content"])


def test_answers_about_pictures_are_the_librarys(engine: Engine, library: list[str]) -> None:
    assert [say(engine, messages) for messages in QUESTIONS] == library[: len(QUESTIONS)]


def test_an_adapters_answers_about_pictures_are_the_librarys(engine: Engine, library: list[str]) -> None:
    assert [say(engine, messages, model="one") for messages in ADAPTED] == library[len(QUESTIONS) :]


def test_pictures_texts_and_adapters_are_answered_side_by_side(engine: Engine, library: list[str]) -> None:
    asked = [*((messages, "served") for messages in QUESTIONS), *((messages, "one") for messages in ADAPTED)]
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(lambda one: say(engine, one[0], model=one[1]), asked)) == library


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
    ("urls", "hint"),
    [
        (["https://example.org/cat.png"], "data: URL"),
        (["file:///etc/passwd"], "data: URL"),
        (["data:image/png;base64,AAAA"], "cannot be read"),
        (["data:image/png;base64,!!!"], "cannot be read"),
        ([DAMAGED], "cannot be read"),
        ([VAST], "cannot be read"),  # it may be so large, but is not whole
        ([head(8000, 8001)], "pixels in all"),
        ([RED, VAST], "pixels in all"),
    ],
)
def test_what_is_no_picture_is_refused(engine: Engine, urls: list[str], hint: str) -> None:
    status, answer = engine.ask("POST", CHAT, {"messages": about(*urls)})
    assert status == 400, answer
    assert hint in json.loads(answer)["error"]["message"]

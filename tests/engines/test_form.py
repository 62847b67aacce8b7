"""The kit's reading of forms, as clients write them and as nobody should."""

from __future__ import annotations

import importlib
from types import ModuleType

import httpx2
import pytest

from .harness import ENGINES

PICTURES = [("image[]", ("ä.png", b"\x89\r\n--x", "image/png")), ("image[]", ("b", b"", "image/png"))]


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ENGINES / "_kit"))
    return importlib.import_module("xserve_engine.form")


def sent(**parts: object) -> tuple[str, bytes]:
    """Content type and body of a form as a client makes it."""
    request = httpx2.Request("POST", "http://engine", **parts)
    return request.headers["content-type"], request.read()


def test_fields_and_files_keep_their_order_names_and_bytes(form: ModuleType) -> None:
    read = form.parse_form(*sent(data={"model": "m", "t[]": ["a", "ü"], "empty": ""}, files=PICTURES))
    assert read.fields == {"model": ["m"], "t[]": ["a", "ü"], "empty": [""]}
    files = [(file.filename, file.data, file.content_type) for file in read.files["image[]"]]
    assert files == [file for _, file in PICTURES]


def test_the_first_value_or_a_default(form: ModuleType) -> None:
    read = form.parse_form(*sent(data={"n": "2.5", "t": ["a", "b"], "empty": ""}, files=PICTURES))
    assert (read.first("t"), read.first("none", "x"), read.number("n", 1), read.number("empty", 1)) == (
        "a",
        "x",
        2.5,
        1,
    )
    assert read.file("image", "image[]").filename == "ä.png"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda kind, body: (kind, body[:-10]), "ends before"),
        (lambda kind, body: (kind, b""), "ends before"),
        (lambda kind, body: (kind, b"junk"), "malformed"),
        (lambda kind, body: ("multipart/form-data", body), "boundary"),
        (lambda kind, body: ("application/json", b"{}"), "must be multipart/form-data"),
        (lambda kind, body: ("", body), "of no content type"),
        (lambda kind, body: (kind, body.replace(b"good", b"\xff\xff\xff\xff")), "UTF-8"),
    ],
)
def test_a_damaged_form_is_the_clients_fault(form: ModuleType, change: object, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence) as raised:
        form.parse_form(*change(*sent(data={"name": "good"}, files=PICTURES)))  # type: ignore[operator]
    assert raised.value.status == 400  # type: ignore[attr-defined]


def test_a_form_of_endless_parts_is_refused(form: ModuleType) -> None:
    with pytest.raises(Exception, match="more than 1000 parts"):
        form.parse_form(*sent(data={"t": ["a"] * 1001}, files=PICTURES))


def test_a_field_that_must_be_a_number_and_a_missing_file_are_told_by_name(form: ModuleType) -> None:
    read = form.parse_form(*sent(data={"n": "two"}, files=PICTURES))
    with pytest.raises(Exception, match="field n must be a number, not 'two'"):
        read.number("n", 1)
    with pytest.raises(Exception, match="a file named file"):
        read.file("file")

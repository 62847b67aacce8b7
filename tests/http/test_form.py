"""Uploads: what routing finds in a form, what a change leaves alone, and which bodies are no form."""

from __future__ import annotations

import contextlib

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import FormParser

from xserve.http.errors import ApiError
from xserve.http.form import MAX_PARTS, MAX_TEXT, AskedByForm, find_in_form, is_form, scan_form

KIND = "multipart/form-data; boundary=B"
DISPOSITION = b'Content-Disposition: form-data; name="%b"'

names = st.sampled_from(["model", "stream", "kwargs", "language", "模"])
pieces = st.lists(st.sampled_from(["a", " ", "\r\n", "--B", "--", "é", "\0", "\r", "\n", "--b"]), max_size=8)
texts = pieces.map("".join).filter(lambda text: "\r\n--B" not in f"\r\n{text}")
files = texts.map(str.encode) | st.binary(max_size=40).filter(lambda data: b"\n--B" not in data)
parts = st.tuples(names, texts | files)
forms = st.lists(parts, max_size=6)


def form(*parts: tuple[str, str | bytes]) -> bytearray:
    """A form; text is a field, bytes are a file."""
    body = bytearray()
    for name, value in parts:
        head = DISPOSITION % name.encode()
        if isinstance(value, bytes):
            head += b'; filename="f.bin"\r\nContent-Type: application/octet-stream'
        body += b"--B\r\n%b\r\n\r\n%b\r\n" % (head, value.encode() if isinstance(value, str) else value)
    return body + b"--B--\r\n"


def parsed(body: bytes) -> list[tuple[str, bytes]]:
    """The fields that the library which engines use finds in a body. Raises FormParserError."""
    found: list[tuple[str, bytes]] = []

    def note(field) -> None:
        found.append((field.field_name.decode("utf-8", "replace"), field.value or b""))

    parser = FormParser("multipart/form-data", note, None, boundary=b"B")
    parser.write(bytes(body))
    parser.finalize()
    return sorted(found)


def scanned(body: bytes) -> list[tuple[str, bytes]]:
    """The fields that routing finds. Raises ApiError."""
    fields = scan_form(KIND, body).fields
    return sorted((name, bytes(body[start:end])) for name, spans in fields.items() for start, end in spans)


@given(forms)
def test_the_fields_are_those_that_engines_read(parts):
    body = form(*parts)
    assert scanned(body) == parsed(body)


@given(st.binary(max_size=60) | forms.map(lambda parts: form(*parts)), st.integers(0, 200), st.binary(max_size=4))
def test_whatever_passes_for_a_form_is_the_same_form_to_engines_or_none(body, at, noise):
    """Also where somebody tampers with it, so that nobody is routed by one name and served by another."""
    tampered = bytes(body[:at]) + noise + bytes(body[at:])
    with contextlib.suppress(ApiError, FormParserError):
        assert scanned(tampered) == parsed(tampered)


@given(
    st.lists(parts, max_size=6, unique_by=lambda part: part[0]), st.sampled_from(["uid", "模型", "a-much-longer-name"])
)
def test_a_replaced_value_changes_no_other_byte(parts, uid):
    others = [part for part in parts if part[0] != "model"]
    for at in range(len(others) + 1):
        body = form(*others[:at], ("model", "alias"), *others[at:])
        asked = find_in_form(KIND, body)
        assert asked.form.replace(body, "model", uid) == form(*others[:at], ("model", uid), *others[at:])


def test_a_real_clients_form_is_read():
    request = httpx2.Request(
        "POST", "http://x", data={"model": "m", "stream": "true"}, files={"file": ("é.wav", b"\r\n--x", "audio/wav")}
    )
    asked = find_in_form(request.headers["content-type"], request.read())
    assert (asked.model, asked.stream) == ("m", True)
    assert list(asked.form.fields) == ["model", "stream"]


@pytest.mark.parametrize(
    ("fields", "stream", "request_id"),
    [
        ({}, False, ""),
        ({"stream": "True"}, True, ""),
        ({"stream": "false", "request_id": "mine"}, False, "mine"),
        ({"kwargs": '{"request_id": "within"}'}, False, "within"),
        ({"kwargs": '{"request_id": "within"}', "request_id": "mine"}, False, "mine"),
        ({"kwargs": '{"request_id": '}, False, ""),
        ({"request_id": "x" * 129}, False, ""),
        ({"request_id": "a\nb"}, False, ""),
        ({"request_id": "é"}, False, ""),
    ],
)
def test_stream_and_the_requests_id_are_found(fields, stream, request_id):
    asked = find_in_form(KIND, form(("model", "m"), *fields.items()))
    assert isinstance(asked, AskedByForm)
    assert (asked.model, asked.stream, asked.request_id) == ("m", stream, request_id)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([("prompt", "x")], "must be there"),
        ([("model", "")], "must be there"),
        ([("model", b"a file")], "must be there"),
        ([("model", "a"), ("x", "y"), ("model", "b")], "once, not 2 times"),
        ([("model", "a" * (MAX_TEXT + 1))], "must be there"),
    ],
)
def test_a_form_must_name_one_model(parts, sentence):
    with pytest.raises(ApiError, match=sentence) as refused:
        find_in_form(KIND, form(*parts))
    assert (refused.value.status, refused.value.param) == (400, "model")


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(ApiError, match="UTF-8"):
        find_in_form(KIND, form(("model", "x")).replace(b"\r\nx\r\n", b"\r\n\xff\r\n"))


WHOLE = bytes(form(("model", "m")))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "does not begin with its boundary"),
        (b'{"model": "m"}', "does not begin with its boundary"),
        (b"preamble\r\n" + WHOLE, "does not begin with its boundary"),
        (WHOLE[:-5], "ends before its closing boundary"),
        (WHOLE.replace(b"--B\r\n", b"--B \r\n", 1), "stands before other text"),
        (WHOLE.replace(b"\r\n--B--", b"\r\n--Bx--"), "ends before its closing|stands before other text"),
        (b"--B\r\n--B--", "no headers"),
        (b"--B\r\n" + b"x" * 20_000 + b"\r\n\r\nm\r\n--B--", "no headers, or no end of them"),
        (b"--B\r\nX: y\r\n\r\nm\r\n--B--", "one header Content-Disposition"),
        (
            b"--B\r\n%b\r\n%b\r\n\r\nm\r\n--B--" % (DISPOSITION % b"model", DISPOSITION % b"other"),
            "one header Content-Disposition",
        ),
        (bytes(form(*[("x", "y")] * (MAX_PARTS + 1))), f"more than {MAX_PARTS} parts"),
    ],
)
def test_a_damaged_or_ambiguous_form_is_refused(body, sentence):
    with pytest.raises(ApiError, match=sentence) as refused:
        scan_form(KIND, body)
    assert refused.value.status == 400


def test_as_many_parts_as_are_accepted_are_accepted():
    assert len(scan_form(KIND, form(*[("x", "y")] * MAX_PARTS)).fields["x"]) == MAX_PARTS


def test_a_form_without_a_boundary_is_refused():
    with pytest.raises(ApiError, match="names no boundary"):
        scan_form("multipart/form-data", WHOLE)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(KIND, True), ("Multipart/Form-Data;boundary=x", True), ("multipart/mixed; boundary=x", False), ("", False)],
)
def test_a_form_is_told_by_its_content_type(kind, expected):
    assert is_form(kind) is expected

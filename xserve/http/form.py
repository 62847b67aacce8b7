"""Uploads (multipart/form-data): where the text fields lie in the body, so that routing builds none of its files.

The body is looked through once, in place, by searches for its boundary, which takes hundredths of a second for
64 MiB. A change replaces the bytes of one value and leaves every other byte as it came. What parsers could take
for two different forms (text before the first boundary, a boundary that goes on, two dispositions of one part)
is refused, so that the engine cannot read another model's name, or another form, than was routed by.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.multipart import parse_options_header

from xserve.http.body import Asked, Body, chosen_id
from xserve.http.errors import ApiError

KIND = "multipart/form-data"
MAX_PARTS = 1000
"""Parts of one form: far more than any client sends, and few enough to look at without holding others up."""
MAX_HEAD = 16 * 1024
"""Bytes of one part's headers."""
MAX_TEXT = 64 * 1024
"""Bytes of a field that routing reads; a longer one is none of those that it looks for."""
_TRUE = ("true", "1", "yes", "on")  # as pydantic reads a form

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Form:
    """Where the values of the text fields lie in a body; files are left out."""

    fields: dict[str, list[Span]] = field(default_factory=dict)

    def text(self, body: Body, name: str) -> str:
        """The one value of a field, empty where it is absent. Raises ApiError 400 for several, and for no UTF-8."""
        spans = self.fields.get(name, [])
        if len(spans) > 1:
            raise _bad_field(name, f"must be there once, not {len(spans)} times")
        if not spans or spans[0][1] - spans[0][0] > MAX_TEXT:
            return ""
        try:
            return bytes(body[slice(*spans[0])]).decode()
        except UnicodeDecodeError:
            raise _bad_field(name, "must be text in UTF-8") from None

    def replace(self, body: Body, name: str, value: str) -> bytes:
        """The body with another value in a field that is there once."""
        [(start, end)] = self.fields[name]
        return b"".join((body[:start], value.encode(), body[end:]))


@dataclass(frozen=True, slots=True)
class AskedByForm(Asked):
    """What an upload says about its routing, and the form that says it."""

    form: Form = field(default_factory=Form)


def is_form(content_type: str) -> bool:
    """Whether a body of this content type is for `scan_form`."""
    return content_type[: len(KIND)].lower() == KIND


def find_in_form(content_type: str, body: Body) -> AskedByForm:
    """The model that an upload names. Raises ApiError 400 saying what is wrong with the form."""
    form = scan_form(content_type, body)
    model = form.text(body, "model")
    if not model:
        raise _bad_field("model", "must be there: the name of a model")
    stream = form.text(body, "stream").strip().lower() in _TRUE
    request_id = chosen_id(form.text(body, "request_id"), form.text(body, "kwargs"))
    return AskedByForm(model, stream, request_id, form)


def scan_form(content_type: str, body: Body) -> Form:
    """The form in a body. Raises ApiError 400 if it is none, is damaged, or ends too early."""
    delimiter = b"\r\n--" + _boundary(content_type)
    if not body.startswith(delimiter[2:]):
        raise _malformed("it does not begin with its boundary")
    form, at = Form(), len(delimiter) - 2
    for _ in range(MAX_PARTS + 1):
        if body.startswith(b"--", at):
            return form
        end = body.find(delimiter, at)
        if end < 0:
            raise _malformed("it ends before its closing boundary")
        _note(form, body, at, end)
        at = end + len(delimiter)
    raise _malformed(f"it has more than {MAX_PARTS} parts")


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _malformed("the header Content-Type names no boundary")
    return boundary


def _note(form: Form, body: Body, start: int, end: int) -> None:
    """Note the part from behind its boundary at `start` to the next boundary at `end`, if it is a text field."""
    if not body.startswith(b"\r\n", start):
        raise _malformed("a boundary stands before other text")
    head_end = body.find(b"\r\n\r\n", start, min(end, start + MAX_HEAD))
    if head_end < 0:
        raise _malformed("a part has no headers, or no end of them")
    headers = [line.partition(b":") for line in bytes(body[start + 2 : head_end]).split(b"\r\n")]
    dispositions = [value for name, _, value in headers if name.lower() == b"content-disposition"]
    if len(dispositions) != 1:
        raise _malformed("a part must have one header Content-Disposition")
    options = parse_options_header(dispositions[0])[1]
    if b"filename" not in options:
        name = options.get(b"name", b"").decode("utf-8", "replace")
        form.fields.setdefault(name, []).append((head_end + 4, end))


def _bad_field(name: str, why: str) -> ApiError:
    return ApiError(400, f"The form's field `{name}` {why}.", code="invalid_body", param=name)


def _malformed(why: str) -> ApiError:
    return ApiError(400, f"The form is malformed: {why}.", code="invalid_body")

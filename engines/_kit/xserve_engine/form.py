"""Bodies of `multipart/form-data`, on python-multipart: the library that Starlette parses forms with.

A body is in memory before it gets here, so its files stay there too; nothing is written to a disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import FormParser, parse_options_header

from .wire import HttpError

KIND = "multipart/form-data"
MOST_PARTS = 1000  # of a form; far more than any client sends, and few enough to cost nothing


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form."""

    filename: str
    content_type: str  # as the client says, "" where it does not
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A form's text fields and files, by name, each in the order of the body."""

    fields: Mapping[str, list[str]] = field(default_factory=dict)
    files: Mapping[str, list[File]] = field(default_factory=dict)

    def first(self, name: str, default: str = "") -> str:
        """The first value of the field `name`; `default` where there is none."""
        return next(iter(self.fields.get(name, ())), default)

    def number(self, name: str, default: float) -> float:
        """The field as a number, `default` where it is absent or empty. Raises `HttpError` 400 if it is none."""
        text = self.first(name)
        try:
            return float(text) if text else default
        except ValueError:
            raise HttpError(400, f"The field {name} must be a number, not {text!r}.") from None

    def file(self, *names: str) -> File:
        """The first file under any of these names. Raises `HttpError` 400 if there is none."""
        for name in names:
            for found in self.files.get(name, ()):
                return found
        raise HttpError(400, f"The form must have a file named {names[0]}.")


def is_form(content_type: str) -> bool:
    """Whether a body of this content type is for `parse_form`."""
    return content_type.partition(";")[0].strip().lower() == KIND


def parse_form(content_type: str, body: bytes) -> Form:
    """The form in a body. Raises `HttpError` 400 if it is none, is damaged, or ends too early."""
    fields: dict[str, list[str]] = {}
    files: dict[str, list[File]] = {}
    parts = itertools.count(1)

    def add_field(part: Any) -> None:
        _limit(next(parts))
        fields.setdefault(_text(part.field_name), []).append(_text(part.value))

    def add_file(part: Any) -> None:
        _limit(next(parts))
        part.file_object.seek(0)
        found = File(_text(part.file_name), part.content_type or "", part.file_object.read())
        files.setdefault(_text(part.field_name), []).append(found)

    _read(content_type, body, add_field, add_file)
    return Form(fields, files)


def _read(content_type: str, body: bytes, add_field: Callable[[Any], None], add_file: Callable[[Any], None]) -> None:
    """Tell of each part of the body. Raises `HttpError` 400."""
    if not is_form(content_type):
        raise HttpError(400, f"The body must be {KIND}, not {content_type or 'of no content type'}.")
    _, options = parse_options_header(content_type)
    ended: list[bool] = []
    memory = {"MAX_MEMORY_FILE_SIZE": float("inf"), "UPLOAD_ERROR_ON_BAD_CTE": True}
    try:
        parser = FormParser(
            KIND, add_field, add_file, lambda: ended.append(True), boundary=options.get(b"boundary"), config=memory
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise HttpError(400, f"The form is malformed: {str(error).rstrip('.')}.") from None
    if not ended:
        raise HttpError(400, "The form ends before its closing boundary.")


def _limit(parts: int) -> None:
    if parts > MOST_PARTS:
        raise HttpError(400, f"The form has more than {MOST_PARTS} parts.")


def _text(value: bytes | None) -> str:
    """Text of a form: UTF-8, as RFC 7578 has it. Raises `HttpError` 400 for anything else."""
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        raise HttpError(400, "A field of the form is not UTF-8 text.") from None

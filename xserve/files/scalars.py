"""Plain scalars by the YAML 1.2 core schema, with numbers that remember how they were written.

YAML 1.1 turns `no` into false, `0_5` into 5 and `1:30` into 90; the 1.2 core schema leaves all of them text.
What it does turn into a number may still have been meant as text (a size `7`, a revision `0123456`), so a
number carries its source and the reader of a text field takes that. JSON numbers are treated alike.
"""

from __future__ import annotations

import math
import re

# Python refuses to convert more than 4300 digits, and no figure in a model's definition needs even these.
MAX_NUMBER_LENGTH = 128

_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMERIC_START = frozenset("+-.0123456789")


class SourceInt(int):
    """An integer that remembers its text, decimal or with `0x` or `0o`: `SourceInt("0x1F").source == "0x1F"`."""

    source: str

    def __new__(cls, source: str) -> SourceInt:
        """Raises ValueError if the text is longer than MAX_NUMBER_LENGTH."""
        _refuse_long(source)
        number = super().__new__(cls, source, 0 if source[:2] in {"0x", "0o"} else 10)
        number.source = source
        return number

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """What a copy is made of."""
        return type(self), (self.source,)


class SourceFloat(float):
    """A finite float that remembers its text."""

    source: str

    def __new__(cls, source: str) -> SourceFloat:
        """Raises ValueError if the text is longer than MAX_NUMBER_LENGTH or too large for a float."""
        _refuse_long(source)
        number = super().__new__(cls, source)
        if not math.isfinite(number):
            raise ValueError(f"{source} is too large for a number; write it in quotes if it is text")
        number.source = source
        return number

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """What a copy is made of."""
        return type(self), (self.source,)


def _refuse_long(source: str) -> None:
    if len(source) > MAX_NUMBER_LENGTH:
        raise ValueError(f"a number has at most {MAX_NUMBER_LENGTH} characters; write it in quotes if it is text")


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain (unquoted) scalar. Raises ValueError with a sentence for a number we do not take."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START:
        return text
    if _INTEGER.fullmatch(text) or _BASED.fullmatch(text):
        return SourceInt(text)
    if _FLOAT.fullmatch(text):
        return SourceFloat(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number; write it in quotes if it is text")
    return text

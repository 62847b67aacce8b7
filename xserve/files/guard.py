"""Limits that hold before and while a document is parsed, so that no text can hurt the reader.

A file is at most 1 MiB of UTF-8 and holds one document, at most 64 levels deep, of at most 20,000 values after
aliases are expanded. Real definitions stay below 200 kB, 8 levels and 3,000 values.
"""

from __future__ import annotations

import re

from xserve.files.tree import Place, SyntaxFault

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 20_000

TOO_DEEP = f"This is nested deeper than {MAX_DEPTH} levels."
TOO_MANY = f"This file holds more than {MAX_NODES} values, counting what aliases repeat."

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_MARKS = (
    (b"\xef\xbb\xbf", "This file begins with a byte order mark; save it as plain UTF-8."),
    (b"\xff\xfe", "This file is UTF-16; save it as UTF-8."),
    (b"\xfe\xff", "This file is UTF-16; save it as UTF-8."),
)


def decode(raw: bytes) -> str:
    """The text of a file. Raises SyntaxFault for what is too large, not UTF-8, or holds control characters."""
    if len(raw) > MAX_BYTES:
        raise SyntaxFault(0, 0, too_large(len(raw)))
    for mark, sentence in _MARKS:
        if raw.startswith(mark):
            raise SyntaxFault(1, 1, sentence)
    text = _utf8(raw)
    found = _CONTROL.search(text)
    if found:
        code = ord(found.group())
        raise SyntaxFault(*place_of(text, found.start()), f"A control character (code {code}) has no place here.")
    return text


def too_large(size: int) -> str:
    """The sentence for a file of `size` bytes that is over the limit."""
    return f"This file has {size} bytes; at most {MAX_BYTES} are read."


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        place = place_of(raw[: fault.start].decode("utf-8"), fault.start)
        byte = raw[fault.start]
        raise SyntaxFault(*place, f"Byte 0x{byte:02X} is not UTF-8; save the file as UTF-8.") from None


def place_of(text: str, offset: int) -> Place:
    """Line and column, from 1, of the character at `offset` (or of the end of the text)."""
    before = text[:offset]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

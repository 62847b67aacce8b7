"""From the bytes of a file to plain data with places: the one entry to the two readers.

Which language a file is written in is told by its content, never by its name, for configuration managers
hand over files without one. What begins with a bracket is read as JSON; where it is not JSON it may still be
YAML in flow style, and if it is neither, the fault reported is that of the language it begins like.
"""

from __future__ import annotations

import re

from xserve.files.guard import decode
from xserve.files.json_strict import JsonSyntaxFault, parse_json
from xserve.files.tree import Document, SyntaxFault
from xserve.files.yaml12 import parse_yaml

__all__ = ["Document", "SyntaxFault", "parse"]

_BEGINS_LIKE_JSON = re.compile(r"\s*[\[{]\s*[\"\[{\]}\d]")


def parse(raw: bytes) -> Document:
    """Read one document of JSON or YAML. Raises SyntaxFault, and nothing else, whatever the bytes are."""
    try:
        return _parse(decode(raw))
    except SyntaxFault:
        raise
    except Exception as fault:  # a reader's own defect must not take more than this file with it
        raise SyntaxFault(0, 0, f"This file cannot be read ({type(fault).__name__}: {fault}).") from fault


def _parse(text: str) -> Document:
    if text.lstrip()[:1] not in ("{", "["):
        return parse_yaml(text)
    try:
        return parse_json(text)
    except JsonSyntaxFault as as_json:
        return _parse_flow(text, as_json)


def _parse_flow(text: str, as_json: JsonSyntaxFault) -> Document:
    try:
        return parse_yaml(text)
    except SyntaxFault as as_yaml:
        raise (as_json if _BEGINS_LIKE_JSON.match(text) else as_yaml) from None

"""Text cut into sentences, so that speech can begin with the first and end between any two."""

from __future__ import annotations

import re
from collections.abc import Iterator

# After a mark that ends a sentence and the space behind it; after the marks of scripts that have no spaces; at lines.
_BREAKS = re.compile(r"(?<=[.!?…;:])\s+|(?<=[。！？；])|\n+")


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, none of them empty; each holds something that can be said."""
    for piece in _BREAKS.split(text):
        if any(character.isalnum() for character in piece):
            yield piece.strip()

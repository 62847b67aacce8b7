"""Looking for a tag in a text that arrives in pieces, of any length, cut anywhere.

What could still become the tag is held back: the longest end of the text that is a beginning of the tag, and the
white space before it, because white space beside a tag is layout and belongs to nobody.
"""

from __future__ import annotations


def settled(text: str, tag: str) -> int:
    """How many characters of `text`, which does not hold `tag`, certainly stand neither in the tag nor beside it."""
    longest = min(len(tag) - 1, len(text))
    held = next((size for size in range(longest, 0, -1) if tag.startswith(text[-size:])), 0)
    return len(text[: len(text) - held].rstrip())

"""Thoughts and answer told apart by a model's tags, while the text arrives.

A model that reasons writes its thoughts between two tags at the head of its answer. Some chat templates open the
first tag themselves, at the end of the prompt; `opens` tells. A tag further down is part of the answer: people
also ask models about tags. White space beside a tag is dropped, and nothing else.
"""

from __future__ import annotations

from typing import Literal

from .pieces import settled

Piece = tuple[Literal["reasoning", "content"], str]


def opens(prompt: str, start: str, end: str) -> bool:
    """Whether the rendered prompt ends in a tag that it opened itself."""
    start, end = _tags(start, end)
    return prompt.rstrip().endswith(start)


class Splitter:
    """Splits one answer. However the text is cut, the joined thoughts and the joined answer are the same."""

    def __init__(self, start: str, end: str, open: bool = False) -> None:  # noqa: A002 - the word for it
        """`open`: the prompt has opened the tag. Raises ValueError where a tag is empty."""
        self.start, self.end = _tags(start, end)
        self._state: Literal["head", "reasoning", "content"] = "reasoning" if open else "head"
        self._beside = open  # the text follows a tag: white space at its head is layout
        self._text = ""  # not given out yet

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain once this text has come."""
        self._text += text
        pieces: list[Piece] = []
        while self._advance(pieces):
            pass
        return pieces

    def finish(self) -> list[Piece]:
        """What was held back; the text has ended. Thoughts that were never closed remain thoughts."""
        pieces: list[Piece] = []
        self._give(pieces, len(self._text))
        return pieces

    def _advance(self, pieces: list[Piece]) -> bool:
        """Give out what is certain; whether the state changed, so that more may be certain now."""
        if self._beside:
            self._text = self._text.lstrip()
        if self._state == "head":
            return self._look_for_start()
        if self._state == "reasoning":
            return self._think(pieces)
        self._give(pieces, len(self._text))
        return False

    def _look_for_start(self) -> bool:
        body = self._text.lstrip()
        if body.startswith(self.start):
            self._state, self._text, self._beside = "reasoning", body[len(self.start) :], True
            return True
        if self.start.startswith(body):
            return False
        self._state = "content"
        return True

    def _think(self, pieces: list[Piece]) -> bool:
        thoughts, closed, rest = self._text.partition(self.end)
        if not closed:
            self._give(pieces, settled(self._text, self.end))
            return False
        self._give(pieces, len(thoughts.rstrip()))
        self._state, self._text, self._beside = "head", rest, True
        return True

    def _give(self, pieces: list[Piece], size: int) -> None:
        if size:
            pieces.append(("reasoning" if self._state == "reasoning" else "content", self._text[:size]))
            self._text, self._beside = self._text[size:], False


def _tags(start: str, end: str) -> tuple[str, str]:
    start, end = start.strip(), end.strip()
    if not start or not end:
        raise ValueError("Reasoning needs both tags, reasoning_start_tag and reasoning_end_tag, and neither empty.")
    return start, end

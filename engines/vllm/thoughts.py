"""A reasoning parser for vLLM that knows any pair of tags, those of the definition.

vLLM brings a parser for each family. They need the tags to be single tokens of the vocabulary, take an answer without
tags for nothing but thoughts in some families and for none in others, and none takes tags that a definition names.
This one reads text, like every other engine here: what stands between the tags at the head of an answer is thought,
also where the template opened the tag at the end of the prompt.

vLLM loads this file by its path (`--reasoning-parser-plugin`), in its server and in its engine core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.parser.abstract_parser import DelegatingParser
from vllm.reasoning import ReasoningParser, ReasoningParserManager
from xserve_engine.reasoning import Piece, Splitter, opens

NAME = "xserve_tags"
TAGS = "XSERVE_REASONING_TAGS"
TAIL = 64  # tokens at the end of a prompt in which a tag is looked for


class TagParser(ReasoningParser):  # type: ignore[misc]
    """One answer's thoughts."""

    engine_based_streaming = True  # it keeps its own state, and gives out at the end what it held back

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self.start, self.end = json.loads(os.environ[TAGS])
        self._opened = False  # by the prompt
        self._splitter = Splitter(self.start, self.end)
        self._answering = False

    @property
    def reasoning_start_str(self) -> str:
        return str(self.start)

    @property
    def reasoning_end_str(self) -> str:
        return str(self.end)

    # The prompt

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        """Learn whether the prompt has opened the tag."""
        self._opened = opens(self._tail(prompt_token_ids), self.start, self.end)
        self._splitter = Splitter(self.start, self.end, self._opened)

    def adjust_request(self, request: Any) -> Any:
        """Keep tags that are special tokens in the text, from which vLLM would leave them out."""
        special = self.model_tokenizer.all_special_tokens
        if self.start in special or self.end in special:
            request.skip_special_tokens = False
        return request

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Whether these tokens, a prompt, end in a closed tag: then only the answer is to come."""
        return self._tail(input_ids).rstrip().endswith(self.end)

    def is_reasoning_end_streaming(self, input_ids: Sequence[int], delta_ids: Iterable[int]) -> bool:
        """Whether the tag was closed within the last tokens."""
        new = len(list(delta_ids))
        return self.end in self._decode(input_ids[-(new + len(self.end)) :])

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """The tokens after the closing tag; none where the tag is not one token."""
        closing = self.vocab.get(self.end)
        return input_ids[input_ids.index(closing) + 1 :] if closing in input_ids else []

    # The answer

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """Thoughts and answer of a whole text."""
        splitter = Splitter(self.start, self.end, self._opened)
        message = _message(splitter.feed(model_output) + splitter.finish())
        return (message.reasoning, message.content) if message else (None, None)

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> DeltaMessage | None:
        """What is certain once this piece has come."""
        pieces = self._splitter.feed(delta_text)
        self._answering = self._answering or any(kind == "content" for kind, _ in pieces)
        return _message(pieces)

    def has_engine_confirmed_reasoning_end(self) -> bool:
        """Whether the answer has begun."""
        return self._answering

    def finish_streaming(self) -> DeltaMessage | None:
        """What was held back."""
        return _message(self._splitter.finish())

    def _tail(self, token_ids: Sequence[int]) -> str:
        return self._decode(token_ids[-TAIL:])

    def _decode(self, token_ids: Sequence[int]) -> str:
        return str(self.model_tokenizer.decode(list(token_ids)))


def _message(pieces: list[Piece]) -> DeltaMessage | None:
    """The pieces as vLLM takes them, None where there are none."""
    texts = {kind: "".join(text for one, text in pieces if one == kind) for kind in ("reasoning", "content")}
    return DeltaMessage(**{kind: text for kind, text in texts.items() if text}) if any(texts.values()) else None


def _pass_on_the_prompt(parser: DelegatingParser, prompt_token_ids: Sequence[int]) -> None:
    """vLLM tells its parser of the prompt of a whole answer, too, but its delegating parser keeps that to itself."""
    if isinstance(parser.reasoning_parser, TagParser):
        parser.reasoning_parser.adjust_initial_state_from_prompt(prompt_token_ids)


DelegatingParser.set_prompt_token_ids = _pass_on_the_prompt
ReasoningParserManager.register_module(NAME, module=TagParser)

"""Chats: messages become a prompt by the model's template, and the answer becomes thoughts, text and tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fields import Body, flag
from settings import Settings
from xserve_engine.launch import BAD_DEFINITION, Refusal
from xserve_engine.reasoning import Splitter, opens
from xserve_engine.templates import Template, TemplateError, variables_of
from xserve_engine.toolcalls import ToolParser, demand, parser_for
from xserve_engine.wire import HttpError

Delta = dict[str, Any]
Tags = tuple[str, str]


class Voice:
    """Sorts an answer's text into the members of OpenAI's deltas."""

    def __init__(self, splitter: Splitter | None, parser: ToolParser | None) -> None:
        self._splitter, self._parser = splitter, parser

    @property
    def called(self) -> bool:
        """Whether a tool was called."""
        return bool(self._parser and self._parser.calls)

    def feed(self, text: str) -> list[Delta]:
        """The deltas that are certain once this text has come."""
        if not text:
            return []
        return self._sort(self._splitter.feed(text) if self._splitter else [("content", text)])

    def finish(self) -> list[Delta]:
        """What was held back; the answer has ended."""
        deltas = self._sort(self._splitter.finish()) if self._splitter else []
        return deltas + (_deltas(self._parser.finish()) if self._parser else [])

    def _sort(self, pieces: Iterable[tuple[str, str]]) -> list[Delta]:
        deltas: list[Delta] = []
        for kind, text in pieces:
            if kind == "reasoning":
                deltas.append({"reasoning_content": text})
            else:
                deltas += _deltas(self._parser.feed(text)) if self._parser else [{"content": text}]
        return deltas


def _deltas(pieces: Iterable[str | Delta]) -> list[Delta]:
    return [{"content": piece} if isinstance(piece, str) else {"tool_calls": [piece]} for piece in pieces]


@dataclass(frozen=True, slots=True)
class Talk:
    """A chat request, read."""

    prompt: str
    tools: tuple[Mapping[str, Any], ...]
    demanded: Mapping[str, Any] | None  # schema of the calls that the request demands
    tags: Tags | None  # around the thoughts, where they are told apart
    thinks: bool  # the prompt has opened the thoughts

    @property
    def marked(self) -> bool:
        """Whether the answer may hold marks that are special tokens: of calls, or of thoughts."""
        return bool(self.tools or self.tags)


class Chats:
    """What the definition says of chats."""

    def __init__(self, settings: Settings, tokenizer: Any) -> None:
        """Refuses a chat model without a template, and a template or a tool parser that cannot be used."""
        definition = settings.definition
        source = definition.get("chat_template") or tokenizer.chat_template
        if isinstance(source, dict):  # several under names
            source = source.get("default") or next(iter(source.values()))
        if not source and "chat" in settings.abilities:
            raise Refusal(
                BAD_DEFINITION,
                "The definition says that the model can chat, but neither it nor the weights have a chat template.",
            )
        self._parser_name = definition.get("tool_parser")
        self._tags = _tags(definition) if settings.options["reasoning_content"] else None
        self._variables = variables_of(settings.options, {})  # these options are named as in a request
        try:
            self._template = Template(source, tokenizer.special_tokens_map) if source else None
            parser_for(self._parser_name, source or "")
        except (TemplateError, ValueError) as error:
            raise Refusal(BAD_DEFINITION, str(error)) from error

    def read(self, body: Body) -> Talk:
        """The prompt and the tools of this body. Raises `HttpError` 400 for what the template refuses."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise HttpError(400, "The messages must be a list of objects with role and content.")
        if self._template is None:
            raise HttpError(400, "This model has no chat template; ask it for completions.")
        tools = () if body.get("tool_choice") == "none" else _tools(body)
        generates = flag(body, "add_generation_prompt", True)
        try:
            variables = variables_of(body, self._variables)
            prompt = self._template.render(messages, tools, generates, **variables)
            demanded = demand(tools, body.get("tool_choice"), flag(body, "parallel_tool_calls", True))
        except (TemplateError, ValueError) as error:
            raise HttpError(400, str(error)) from error
        thinks = bool(self._tags) and opens(prompt, *self._tags)
        return Talk(prompt, tools, demanded, self._tags, thinks)

    def voice(self, talk: Talk) -> Voice:
        """What sorts one answer of this talk."""
        splitter = Splitter(*talk.tags, open=talk.thinks) if talk.tags else None
        parser = None
        if talk.tools and self._template is not None:
            name = "demanded" if talk.demanded else self._parser_name
            parser = parser_for(name, self._template.source, talk.tools)
        return Voice(splitter, parser)


def _tags(definition: Mapping[str, Any]) -> Tags | None:
    """The tags around thoughts. Refuses one that is nothing but space."""
    start, end = definition.get("reasoning_start_tag"), definition.get("reasoning_end_tag")
    if not start or not end:
        return None
    try:
        Splitter(start, end)
    except ValueError as error:
        raise Refusal(BAD_DEFINITION, str(error)) from error
    return start, end


def _tools(body: Body) -> tuple[Mapping[str, Any], ...]:
    tools = body.get("tools") or []
    fits = isinstance(tools, list) and all(
        isinstance(tool, dict) and isinstance(tool.get("function"), dict) and tool["function"].get("name")
        for tool in tools
    )
    if not fits:
        raise HttpError(400, "The tools must be a list of objects, each with a function that has a name.")
    return tuple(tools)

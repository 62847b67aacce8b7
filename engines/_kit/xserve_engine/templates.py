"""Chat templates: Jinja programs that come with a model and write the prompt.

They are run in Jinja's immutable sandbox with the additions that model makers count on (`tojson` without HTML
escapes, `raise_exception`, `strftime_now`, `break` and `continue`, `generation` blocks), as `transformers` sets them
up. A template comes from a stranger, so its work is bounded, too: every turn of a loop and every call takes a
step, and steps, the length of a range and the length of a text have limits. The counting is put into the
template's loops when it is read. That ends loops without end and texts that double; a filter may still build one
large text before it is seen.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.exceptions import TemplateError as Refused
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .messages import adapt, find_form

MOST_STEPS = 200_000  # Qwen3's takes 4,600 for 2,000 messages with tools
MOST_TRIAL = 5_000  # of a short conversation, by which a template is found out
MOST_RANGE = 100_000
MOST_POWER = 64
MOST_TEXT = 8_000_000  # characters: far more than any model reads

_steps: ContextVar[list[int]] = ContextVar("steps left")


# What a request may not set among the template's variables: these come from elsewhere in it.
RESERVED = frozenset({"messages", "tools", "add_generation_prompt", "chat_template", "tokenize", "documents"})


class TemplateError(Exception):
    """The template cannot be read, or cannot render these messages; the message is a sentence."""


class Template:
    """A chat template, read once and rendered by any thread. Raises `TemplateError` if it cannot be read."""

    def __init__(self, source: str, special: Mapping[str, str]) -> None:
        """`special`: the tokenizer's named tokens, such as `bos_token`, which templates write out."""
        self.source = source
        self.special = dict(special)
        try:
            self._program = _environment.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateError(f"The chat template cannot be read, line {error.lineno}: {error.message}.") from None
        except Refused as error:
            raise TemplateError(f"The chat template cannot be read: {error}.") from None
        self.form = find_form(self._try)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The prompt. `variables` are the template's own, such as `enable_thinking`."""
        try:
            adapted = adapt(messages, self.form)
        except ValueError as error:
            raise TemplateError(str(error)) from None
        variables |= {"messages": adapted, "tools": tools or None, "add_generation_prompt": add_generation_prompt}
        return self._run(variables, MOST_STEPS)

    def _try(self, messages: Sequence[Mapping[str, Any]]) -> str:
        return self._run({"messages": messages, "tools": None, "add_generation_prompt": False}, MOST_TRIAL)

    def _run(self, variables: Mapping[str, Any], most: int) -> str:
        mark = _steps.set([most])
        try:
            return "".join(_bounded(self._program.generate({**self.special, **variables})))
        except RecursionError:
            raise TemplateError("The chat template calls itself without end.") from None
        except Exception as error:  # whatever a stranger's program raises on a client's messages
            raise TemplateError(f"The chat template refuses these messages: {error}") from None
        finally:
            _steps.reset(mark)


def variables_of(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The template's variables: the defaults, what the request says, and its `enable_thinking` by both its names.

    Raises `TemplateError` for a variable that a request may not set, and for a switch that is neither on nor off.
    """
    asked = body.get("chat_template_kwargs") or {}
    if not isinstance(asked, Mapping):
        raise TemplateError("The chat_template_kwargs must be an object.")
    if reserved := RESERVED & asked.keys():
        raise TemplateError(f"The chat_template_kwargs may not set {', '.join(sorted(reserved))}.")
    thinking = body.get("enable_thinking")
    if thinking is not None and not isinstance(thinking, bool):
        raise TemplateError("The enable_thinking must be true or false.")
    switch = {} if thinking is None else {"enable_thinking": thinking, "thinking": thinking}
    return {**defaults, **switch, **asked}


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with limits."""

    intercepted_binops = frozenset({"*", "**"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The program, with its loops counted."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
        return tree

    def call(self, *args: Any, **kwargs: Any) -> Any:
        _step()
        return super().call(*args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Texts are repeated within the limit; numbers do not grow without end."""
        if operator == "**" and _size(right) > MOST_POWER:
            raise Refused("it makes too large a number.")
        texts = isinstance(left, str | list) or isinstance(right, str | list)
        if operator == "*" and texts and _size(left) * _size(right) > MOST_TEXT:
            raise Refused("it makes too large a text.")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %}`: marks what the model wrote, for training; here its content is simply rendered."""

    tags = frozenset({"generation"})

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


def _step() -> None:
    left = _steps.get()
    left[0] -= 1
    if left[0] < 0:
        raise Refused("it takes too many steps.")


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > MOST_TEXT:
            raise Refused(f"the prompt grows beyond {MOST_TEXT:,} characters.")
        yield piece


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list) else int(value)


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MOST_RANGE:
        raise Refused(f"a range is longer than {MOST_RANGE:,}.")
    return numbers


def _dict(*items: Any, **more: Any) -> dict[Any, Any]:
    return dict(*items, **more)


def _raise(message: str) -> None:
    raise Refused(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _now(form: str) -> str:
    return datetime.datetime.now().strftime(form)  # noqa: DTZ005 - the reader's own time is meant


def _furnish() -> Environment:
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters |= {"tojson": _tojson, "counted": _counted}
    # A function in place of the class, whose methods would change the lists and objects that templates must not.
    environment.globals |= {"raise_exception": _raise, "strftime_now": _now, "range": _range, "dict": _dict}
    return environment


_environment = _furnish()

"""How requests share the one thread of the model in the backend llama-cpp-python, with a library of our own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def bindings(backend: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The backend's module, on a library that only has the names which it takes from there."""
    library, formats = ModuleType("llama_cpp"), ModuleType("llama_cpp.llama_chat_format")
    library.__dict__["Llama"] = object
    formats.__dict__["Jinja2ChatFormatter"] = object
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setitem(sys.modules, formats.__name__, formats)
    return backend("bindings")


class Counting:
    """A model whose answer to a prompt has as many tokens as the prompt says."""

    usage: dict[str, int]

    def create_completion(self, *, prompt: str, **_: Any) -> Iterator[dict[str, Any]]:
        for count in range(1, int(prompt) + 1):
            self.usage = {"completion_tokens": count}
            yield {"choices": [{"text": "x"}]}


class Taken:
    """A reply that is taken as slowly as the test likes."""

    def __init__(self, gate: asyncio.Event) -> None:
        self.gate = gate
        self.events: list[Any] = []

    async def event(self, value: Any) -> None:
        await self.gate.wait()
        self.events.append(value)

    @property
    def usage(self) -> Any:
        return next(event["usage"] for event in self.events if "usage" in event)


async def test_the_usage_of_a_stream_is_its_own_though_another_request_has_run_before_it_was_taken(
    bindings: ModuleType,
) -> None:
    settings = SimpleNamespace(uid="m", stops=SimpleNamespace(strings=()))
    first, second = Taken(asyncio.Event()), Taken(asyncio.Event())
    second.gate.set()
    with ThreadPoolExecutor(1) as thread:
        model = Counting()
        api = bindings.Api(settings, model, thread)

        def ask(prompt: str, reply: Taken) -> asyncio.Task[None]:
            body = {"prompt": prompt, "stream": True, "stream_options": {"include_usage": True}}
            return asyncio.create_task(api.generate(model.create_completion, bindings.TEXT, body, reply))

        slow = ask("3", first)
        await asyncio.sleep(0)  # it is the first one on the thread
        await ask("5", second)
        first.gate.set()
        await slow
    assert (first.usage, second.usage) == ({"completion_tokens": 3}, {"completion_tokens": 5})

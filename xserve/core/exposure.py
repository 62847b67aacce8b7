"""How a deployment shows itself to clients. May change while its replicas run, so it is no part of a launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from xserve.core.manifest import ModelType


@dataclass(frozen=True, slots=True)
class Exposure:
    """Names, limit and request defaults of one deployment."""

    model_type: ModelType
    aliases: tuple[str, ...] = ()  # further names that clients may put in "model"
    request_limit: int | None = None  # concurrent requests per replica; None: no limit
    request_defaults: Mapping[str, Any] = field(default_factory=dict)
    """JSON members that an LLM request gets where it lacks them or says null, e.g. `stop`."""

    adapters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """LoRA adapters by public name, with the members that select one; none of them: it is asked for by its name."""

    refused: Mapping[str, str] = field(default_factory=dict)
    """JSON members that the engine would ignore, each with what the client is told."""

    def differences(self, before: Exposure) -> list[str]:
        """What differs from `before`, in words: `request_limit 32 -> 8`."""
        names = [each.name for each in fields(self) if getattr(self, each.name) != getattr(before, each.name)]
        return [f"{name} {_show(getattr(before, name))} -> {_show(getattr(self, name))}" for name in names]


def _show(value: Any) -> str:
    if value is None or value == () or value == {}:
        return "none"
    return ", ".join(value) if isinstance(value, tuple) else str(value)

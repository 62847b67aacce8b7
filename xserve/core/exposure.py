"""How a deployment shows itself to clients. May change while its replicas run, so it is no part of a launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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

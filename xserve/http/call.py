"""What a handler gets: the daemon's parts, the request, and its body and query as checked values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry
from starlette.requests import Request

from xserve.http.control import Control
from xserve.http.gallery import Gallery
from xserve.http.traffic import Traffic
from xserve.http.underway import Underway
from xserve.http.upstream import Upstream

Body = TypeVar("Body")
Query = TypeVar("Query")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers work with."""

    control: Control
    traffic: Traffic
    upstream: Upstream
    registry: CollectorRegistry  # the daemon's own figures
    engine_metrics: Mapping[str, str]  # engine -> the path of its Prometheus text; engines without one are absent
    document: Callable[[], bytes]  # the OpenAPI document
    underway: Underway
    gallery: Gallery


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Query]):
    """One request to a route; `body` and `query` are None where its row names no model for them."""

    parts: Parts
    request: Request
    body: Body
    query: Query

    @property
    def control(self) -> Control:
        """The daemon."""
        return self.parts.control

    def part(self, name: str) -> str:
        """The variable part of the path with this name."""
        return str(self.request.path_params[name])


Plain = Call[None, None]
Handler = Callable[[Call[Any, Any]], Awaitable[Any]]
"""Returns a Response, or a value that is sent as JSON. Raises ApiError or core.refused.Refused."""

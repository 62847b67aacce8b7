"""Whether the daemon lives, whether it (or one model) is ready, and its figures."""

from __future__ import annotations

from pydantic import BaseModel, Field
from starlette.responses import Response

from xserve.core.views import ModelView
from xserve.http.call import Call, Plain
from xserve.http.errors import ApiError, retry_after
from xserve.http.scrape import CONTENT_TYPE, metrics_page
from xserve.http.traffic import Unavailable

_COMING = frozenset({"starting", "updating", "backoff"})  # by itself


class HealthView(BaseModel):
    """A good answer; a bad one is an error with its reason."""

    status: str


class ReadyQuery(BaseModel):
    """Whose readiness."""

    model: str | None = Field(None, description="public name or alias of one model; none: the daemon itself")


async def livez(call: Plain) -> HealthView:
    """Whether the loop turns. Raises ApiError 503."""
    if not call.control.turning():
        raise ApiError(503, "The loop does not turn.", code="stuck")
    return HealthView(status="alive")


async def readyz(call: Call[None, ReadyQuery]) -> HealthView:
    """Whether the daemon accepts requests, or one model can answer. Raises ApiError 503, or 404 for no such model."""
    if not call.control.accepting():
        raise ApiError(503, "The daemon is starting or leaving.", code="not_accepting", headers=[retry_after(1)])
    name = call.query.model
    if name is not None:
        model = call.control.model(name)
        if model is None:
            raise call.parts.traffic.unknown(name)
        require_ready(model)
    return HealthView(status="ready")


def require_ready(model: ModelView) -> None:
    """Raises ApiError 503 with the reason where no replica takes requests."""
    if model.ready > 0:
        return
    if model.state in _COMING:
        raise Unavailable.loading(model.message).error()
    raise Unavailable.failed(f"The model {model.uid} cannot serve: {model.message}").error()


async def metrics(call: Plain) -> Response:
    """Prometheus text: the daemon's figures and those of every ready engine."""
    return Response(await metrics_page(call.parts), media_type=CONTENT_TYPE)


async def openapi(call: Plain) -> Response:
    """The OpenAPI document."""
    return Response(call.parts.document(), media_type="application/json")

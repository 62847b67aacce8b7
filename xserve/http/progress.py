"""How far a request is: asked of the engine that works on it.

An engine that can tell answers `GET /progress?request_id=...` with `{"progress": 0..1}`, by the id that the
request brought it in X-Request-Id. Of one that cannot, or is too busy to say, nothing is known but the time.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from pydantic import BaseModel, Field

from xserve.http.call import Plain
from xserve.http.errors import ApiError
from xserve.http.underway import Errand
from xserve.http.upstream import Upstream
from xserve.http.wire import UpstreamError

ASK_SECONDS = 2.0
"""How long an engine may take to tell."""


class ProgressView(BaseModel):
    """How far a request is."""

    progress: float = Field(description="0 to 1; 0 as long as its engine does not tell")
    elapsed_seconds: float
    eta_seconds: float | None = Field(description="as it went so far; null: not known")


class _Told(msgspec.Struct):
    progress: float


async def progress(call: Plain) -> ProgressView:
    """Of a request in flight, or one that was done when it was asked about before. Raises ApiError 400."""
    errand = call.parts.underway.find(call.part("request_id"))
    if errand is None:
        message = f"No request in flight has the id {call.part('request_id')}."
        raise ApiError(400, message, code="request_not_found", param="request_id")
    share = 1.0 if errand.took is not None else await _ask(call.parts.upstream, errand)
    elapsed = errand.elapsed
    left = elapsed * (1 - share) / share if share else None
    return ProgressView(progress=share, elapsed_seconds=elapsed, eta_seconds=left)


async def _ask(upstream: Upstream, errand: Errand) -> float:
    path = f"/progress?request_id={quote(errand.request_id, safe='')}"
    try:
        answer = await upstream.fetch(errand.address, "GET", path, timeout=ASK_SECONDS)
        told = msgspec.json.decode(answer.body, type=_Told).progress if answer.status == 200 else 0.0
    except (UpstreamError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError):
        return 0.0
    return min(1.0, max(0.0, told))

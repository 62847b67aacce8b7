"""Makes one ASGI application of one row: scope, query, body, handler, answer."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from xserve.core.refused import Kind, Refused
from xserve.http.access import authorise
from xserve.http.call import Call, Handler, Parts
from xserve.http.errors import ApiError, retry_after
from xserve.http.reading import read_model, read_query
from xserve.http.route import Route

_STATUSES = {
    Kind.INVALID: 400,
    Kind.EXISTS: 400,
    Kind.OWNED: 409,
    Kind.BUSY: 503,
    Kind.FAILED: 503,
    Kind.CANCELLED: 499,
    Kind.NO_SPACE: 507,
}
_BUSY_SECONDS = 5  # after which a caller may well try again


class Guarded:
    """An inference route: whoever holds its scope reaches the proxy."""

    def __init__(self, route: Route, app: ASGIApp) -> None:
        self._needed = route.scope
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorise(scope, self._needed)
        await self._app(scope, receive, send)


class Endpoint:
    """A route with a handler of ours."""

    def __init__(self, route: Route, handler: Handler, parts: Parts) -> None:
        self._route = route
        self._handler = handler
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorise(scope, self._route.scope)
        request = Request(scope, receive)
        try:
            answer = await self._handler(await self._call(request))
        except Refused as refused:
            raise translate(refused, self._route.unknown) from refused
        await _response(answer, self._route.status)(scope, receive, send)

    async def _call(self, request: Request) -> Call[Any, Any]:
        route = self._route
        query = read_query(request, route.query) if route.query else None
        body = await read_model(request, route.request) if route.request else None
        return Call(self._parts, request, body, query)


def translate(refused: Refused, unknown: int) -> ApiError:
    """The answer to a refused call; `unknown` is the status for a thing that does not exist."""
    status = _STATUSES.get(refused.kind, unknown)
    headers = [retry_after(_BUSY_SECONDS)] if refused.kind is Kind.BUSY else []
    return ApiError(status, refused.message, code=refused.kind.value, param=refused.param, headers=headers)


def _response(answer: Any, status: int) -> Response:
    if isinstance(answer, Response):
        return answer
    return Response(to_json(answer), status, media_type="application/json")

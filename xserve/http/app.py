"""The application: the route table made to answer, within the guard.

    guard -> translator -> inference routes by one dict lookup, everything else by Starlette's router

A path or a method that the table does not have is answered in the same words as any other error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from prometheus_client import CollectorRegistry
from starlette.routing import Route as PathRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xserve.http.body import ClientGoneError
from xserve.http.call import Parts
from xserve.http.control import Control
from xserve.http.endpoint import Endpoint, Guarded
from xserve.http.errors import ApiError, send_error
from xserve.http.figures import StatusCollector, new_registry
from xserve.http.guard import Guard, GuardRules
from xserve.http.metrics import TrafficCollector
from xserve.http.openapi import document
from xserve.http.proxy import Proxy
from xserve.http.route import Forward, Route, types_of
from xserve.http.routes import ROUTES

log = logging.getLogger(__name__)


def build_app(
    control: Control,
    proxy: Proxy,
    *,
    rules: GuardRules | None = None,
    registry: CollectorRegistry | None = None,
    engine_metrics: Mapping[str, str] | None = None,
) -> ASGIApp:
    """Everything that the daemon answers.

    `registry` holds figures of the daemon's own; those of traffic and status are added to it. `engine_metrics`
    says for each engine where its Prometheus text is.
    """
    registry = registry or new_registry()
    registry.register(TrafficCollector(proxy.traffic))
    registry.register(StatusCollector(control))
    made = cache(lambda: document(ROUTES))
    metrics = engine_metrics or {}
    parts = Parts(control, proxy.traffic, proxy.upstream, registry, metrics, made, proxy.underway, proxy.gallery)
    uploads = frozenset(route.path for route in ROUTES if route.form)
    return Guard(Translator(Dispatch(ROUTES, parts, proxy)), replace(rules or GuardRules(), uploads=uploads))


class Dispatch:
    """From method and path to the application of a row."""

    def __init__(self, routes: Iterable[Route], parts: Parts, proxy: Proxy) -> None:
        self._inference: dict[tuple[str, str], ASGIApp] = {}
        paths: dict[str, dict[str, ASGIApp]] = {}
        for route in routes:
            app: ASGIApp
            if isinstance(route.handler, Forward):
                app = Guarded(route, proxy.route(route.path, *types_of(route.path), links=route.handler.links))
                self._inference[route.key] = app
            else:
                app = Endpoint(route, route.handler, parts)
            paths.setdefault(route.path, {})[route.method] = app
        rows = [PathRoute(path, Methods(apps)) for path, apps in paths.items()]
        self._router = Router(rows, redirect_slashes=False, default=not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._inference.get((scope["method"], scope["path"]), self._router)
        await app(scope, receive, send)


class Methods:
    """The rows of one path. HEAD is answered as GET; the server leaves the body out."""

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = {"HEAD": apps["GET"], **apps} if "GET" in apps else dict(apps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._apps.get(scope["method"])
        if app is None:
            raise self._not_allowed(scope["path"])
        await app(scope, receive, send)

    def _not_allowed(self, path: str) -> ApiError:
        allowed = ", ".join(sorted(self._apps))
        message = f"Method Not Allowed: {path} answers {allowed}."
        return ApiError(405, message, code="method_not_allowed", headers=[(b"allow", allowed.encode())])


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a path outside the table. Raises ApiError 404, always."""
    message = f"Not Found: there is nothing at {scope['path']}; /openapi.json tells what there is."
    raise ApiError(404, message, code="unknown_path")


class Translator:
    """Answers whatever was raised before the answer began; what nobody foresaw is logged and gets an id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer)
        except ClientGoneError:
            log.debug("the client left")
        except Exception as error:
            if answer.begun:
                raise
            await send_error(send, error if isinstance(error, ApiError) else _unforeseen(scope))


class _Answer:
    """Remembers whether the answer has begun."""

    __slots__ = ("_send", "begun")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


def _unforeseen(scope: Scope) -> ApiError:
    request_id = scope["state"]["request_id"]
    log.exception("request %s: %s %r failed", request_id, scope["method"], scope["path"])
    message = f"xserve failed here; its log knows more (request {request_id})."
    return ApiError(500, message, code="internal_error")

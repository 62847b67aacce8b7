"""The route table: what it promises of itself, and that the application answers exactly that."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, get_args

import httpx2
import pytest
from pydantic import TypeAdapter

from xserve.core.modeltypes import MODEL_TYPES
from xserve.http import access
from xserve.http.access import Scope
from xserve.http.openapi import describe, document
from xserve.http.route import Forward, Route
from xserve.http.routes import ROUTES

DEFINITION = json.dumps({"model_name": "new"})

PNG = b"\x89PNG\r\n\x1a\n and so on"


@dataclass(frozen=True)
class Form:
    """The body of an upload."""

    model: str
    files: tuple[str, ...]


# A request that succeeds, for every row: (path, body or None).
EXAMPLES: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", "/livez"): ("/livez", None),
    ("GET", "/readyz"): ("/readyz?model=chat", None),
    ("GET", "/metrics"): ("/metrics", None),
    ("GET", "/openapi.json"): ("/openapi.json", None),
    ("POST", "/v1/chat/completions"): ("/v1/chat/completions", {"model": "chat", "messages": []}),
    ("POST", "/v1/completions"): ("/v1/completions", {"model": "chat", "prompt": ""}),
    ("POST", "/v1/embeddings"): ("/v1/embeddings", {"model": "vectors", "input": ""}),
    ("POST", "/v1/rerank"): ("/v1/rerank", {"model": "order", "query": "", "documents": []}),
    ("POST", "/v1/images/generations"): ("/v1/images/generations", {"model": "pictures", "prompt": ""}),
    ("POST", "/v1/images/variations"): ("/v1/images/variations", Form("pictures", ("image",))),
    ("POST", "/v1/images/edits"): ("/v1/images/edits", Form("pictures", ("image[]", "mask"))),
    ("POST", "/v1/images/inpainting"): ("/v1/images/inpainting", Form("pictures", ("image", "mask_image"))),
    ("POST", "/v1/images/ocr"): ("/v1/images/ocr", Form("pictures", ("image",))),
    ("GET", "/v1/images/files/{name}"): ("/v1/images/files/KEPT", None),
    ("GET", "/v1/requests/{request_id}/progress"): ("/v1/requests/mine/progress", None),
    ("POST", "/v1/audio/transcriptions"): ("/v1/audio/transcriptions", Form("voice", ("file",))),
    ("POST", "/v1/audio/translations"): ("/v1/audio/translations", Form("voice", ("file",))),
    ("POST", "/v1/audio/speech"): ("/v1/audio/speech", {"model": "voice", "input": ""}),
    ("POST", "/v1/flexible/infers"): ("/v1/flexible/infers", {"model": "any", "args": [1]}),
    ("GET", "/v1/models"): ("/v1/models", None),
    ("GET", "/v1/models/{uid}"): ("/v1/models/chat", None),
    ("POST", "/v1/models"): ("/v1/models", {"model_name": "tiny", "model_uid": "second"}),
    ("DELETE", "/v1/models/{uid}"): ("/v1/models/chat", None),
    ("GET", "/v1/model_registrations/{type}"): ("/v1/model_registrations/LLM?detailed=true", None),
    ("POST", "/v1/model_registrations/{type}"): (
        "/v1/model_registrations/LLM",
        {"model": DEFINITION, "persist": False},
    ),
    ("GET", "/v1/model_registrations/{type}/{name}"): ("/v1/model_registrations/LLM/tiny", None),
    ("DELETE", "/v1/model_registrations/{type}/{name}"): ("/v1/model_registrations/LLM/tiny", None),
    ("GET", "/v1/cluster/auth"): ("/v1/cluster/auth", None),
    ("GET", "/xserve/v1/status"): ("/xserve/v1/status", None),
    ("GET", "/xserve/v1/models/{uid}"): ("/xserve/v1/models/gpt-3.5-turbo", None),
    ("GET", "/xserve/v1/models/{uid}/log"): ("/xserve/v1/models/chat/log", None),
    ("POST", "/xserve/v1/reload"): ("/xserve/v1/reload", None),
    ("POST", "/xserve/v1/plan"): ("/xserve/v1/plan", {"candidates": [{"path": "/c/x.yaml", "text": "a: 1"}]}),
    ("GET", "/xserve/v1/wait"): ("/xserve/v1/wait?model=chat&timeout=1", None),
    ("GET", "/xserve/v1/events"): ("/xserve/v1/events", None),
    ("GET", "/xserve/v1/engines"): ("/xserve/v1/engines?model=tiny", None),
}
ANSWERS = {
    "/v1/chat/completions": {"id": "1", "created": 1, "model": "chat", "choices": []},
    "/v1/completions": {"id": "1", "created": 1, "model": "chat", "choices": []},
    "/v1/embeddings": {"model": "vectors", "data": [], "usage": {"prompt_tokens": 1, "total_tokens": 1}},
    "/v1/rerank": {"id": "1", "results": []},
    "/v1/images/ocr": "text",
    "/v1/audio/transcriptions": {"text": "one"},
    "/v1/audio/translations": {"text": "one"},
    "/v1/flexible/infers": [1],
    "/progress?request_id=mine": {"progress": 0.5},
} | {
    f"/v1/images/{name}": {"created": 1, "data": [{"b64_json": base64.b64encode(PNG).decode()}]}
    for name in ("generations", "variations", "edits", "inpainting")
}
every_row = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")


@pytest.fixture
async def served(surface, start_engine):
    """All that the examples ask for is there, answered by one engine."""

    async def answer(exchange) -> None:
        path = exchange.head.split()[1].decode()
        if path == "/v1/audio/speech":
            await exchange.reply(b"ID3", kind="audio/mpeg")
        else:
            await exchange.reply(json.dumps(ANSWERS[path]).encode() if path in ANSWERS else b"up 1\n")

    engine = await start_engine(answer)
    surface.serve("chat", engine.path)
    for uid in ("vectors", "order", "pictures", "voice", "any"):
        surface.control.add_entry(uid)
        surface.serve(uid, engine.path)
    surface.proxy.underway.begin("mine", engine.path)
    return surface


async def ask(served, route: Route) -> httpx2.Response:
    """The row's example, asked."""
    path, body = EXAMPLES[route.key]
    if "KEPT" in path:
        path = path.replace("KEPT", await served.proxy.gallery.keep(PNG))
    if isinstance(body, Form):
        files = [(name, (name, PNG)) for name in body.files]
        return await served.http.request(route.method, path, data={"model": body.model}, files=files)
    return await served.http.request(route.method, path, json=body)


def test_a_row_without_a_scope_cannot_be_written() -> None:
    scope = next(each for each in fields(Route) if each.name == "scope")
    assert scope.default is scope.default_factory  # both MISSING
    with pytest.raises(TypeError, match="scope"):
        Route(method="GET", path="/x", handler=Forward(), tag="", summary="")


@every_row
def test_every_row_has_a_scope_that_exists(route: Route) -> None:
    assert route.scope in get_args(Scope)


def test_no_row_stands_twice() -> None:
    assert len({route.key for route in ROUTES}) == len(ROUTES)


def test_every_inference_path_of_the_model_types_has_a_row() -> None:
    wanted = {path for row in MODEL_TYPES.values() for path in row.routes}
    assert {route.path for route in ROUTES if isinstance(route.handler, Forward)} == wanted


def test_every_row_has_an_example() -> None:
    assert set(EXAMPLES) == {route.key for route in ROUTES}


@every_row
async def test_every_row_answers_as_it_says(route: Route, served) -> None:
    answer = await ask(served, route)
    assert answer.status_code == route.status, answer.text
    assert answer.headers["content-type"].partition(";")[0] in route.media
    if route.media[0] == "application/json":
        TypeAdapter(route.response).validate_json(answer.content)


@every_row
async def test_every_row_enforces_its_scope(route: Route, served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "scopes_of", lambda _: frozenset(get_args(Scope)) - {route.scope})
    answer = await ask(served, route)
    assert answer.status_code == 403
    assert answer.json()["detail"] == f"This needs the scope {route.scope}."
    monkeypatch.setattr(access, "scopes_of", lambda _: frozenset({route.scope}))
    assert (await ask(served, route)).status_code == route.status


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/v1",
        "/v1/models/",
        "/v1/models/chat/x",
        "/v1/chat/completions/",
        "/V1/models",
        "//livez",
        "/livez%2F..%2Fmetrics",
        "/xserve/v1/models/",
    ],
)
async def test_a_path_outside_the_table_is_not_found(surface, path: str) -> None:
    answer = await surface.http.get(surface.url + path, follow_redirects=False)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("Not Found")
    assert answer.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/models", "GET, HEAD, POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("GET", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/embeddings", "POST"),
        ("DELETE", "/xserve/v1/reload", "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(surface, method: str, path: str, allowed: str) -> None:
    answer = await surface.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.json()["detail"] == f"Method Not Allowed: {path} answers {allowed}."
    assert answer.json()["error"]["code"] == "method_not_allowed"


async def test_head_is_answered_as_get_without_a_body(surface) -> None:
    answer = await surface.http.head("/v1/models")
    assert answer.status_code == 200
    assert answer.content == b""


async def test_inference_does_not_pass_the_router(served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self, scope, receive, send) -> None:
        raise AssertionError("routed")

    monkeypatch.setattr("starlette.routing.Router.__call__", refuse)
    answer = await served.http.post("/v1/rerank", json={"model": "order", "query": "", "documents": []})
    assert answer.status_code == 200


def test_openapi_document_is_the_snapshot(matches_snapshot: Callable[[str, str], None]) -> None:
    matches_snapshot("openapi.json", document(ROUTES).decode())


def test_openapi_document_has_every_row_and_no_dangling_reference() -> None:
    made = describe(list(ROUTES))
    shown = {(method.upper(), path) for path, rows in made["paths"].items() for method in rows}
    assert shown == {route.key for route in ROUTES}
    schemas = made["components"]["schemas"]
    references = {part.split('"')[0] for part in json.dumps(made).split("#/components/schemas/")[1:]}
    assert references <= set(schemas)
    assert all(made["paths"][route.path][route.method.lower()]["x-scope"] == route.scope for route in ROUTES)


async def test_openapi_document_is_served(surface) -> None:
    assert (await surface.http.get("/openapi.json")).content == document(ROUTES)

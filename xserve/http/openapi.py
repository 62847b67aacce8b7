"""The OpenAPI 3.1 document, made from the route table: what is answered and what is documented are one thing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from xserve import __version__
from xserve.http.route import Forward, Route, types_of

Json = dict[str, Any]
Key = tuple[str, str]
_Schemas = dict[tuple[Key, JsonSchemaMode], Any]

_TEMPLATE = "#/components/schemas/{model}"
_JSON = "application/json"
_FORM = "multipart/form-data"
_ERROR_REF = {"$ref": "#/components/responses/Error"}


class ErrorDetail(BaseModel):
    """What OpenAI's clients read."""

    message: str
    type: str
    code: str | None
    param: str | None
    source: str


class Error(BaseModel):
    """Every error; `detail` is what Xinference's clients read."""

    detail: str
    error: ErrorDetail


def document(routes: Iterable[Route]) -> bytes:
    """The document as JSON text."""
    return json.dumps(describe(list(routes)), indent=2, ensure_ascii=False).encode() + b"\n"


def describe(routes: list[Route]) -> Json:
    """The document as plain values."""
    schemas, components = _schemas(routes)
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "xserve", "version": __version__, "description": "Models, served from files."},
        "paths": paths,
        "components": {"schemas": components, "responses": {"Error": _error()}},
    }


def _schemas(routes: list[Route]) -> tuple[_Schemas, Json]:
    """(schemas by the row's key and use, shared components): all made at once, so that names do not clash."""
    wanted: list[tuple[Key, JsonSchemaMode, TypeAdapter[Any]]] = [
        (route.key, "validation", TypeAdapter(route.request)) for route in routes if route.request
    ]
    wanted += [((_FORM, route.path), "validation", TypeAdapter(route.form)) for route in routes if route.form]
    wanted += [(route.key, "serialization", TypeAdapter(route.response)) for route in routes]
    wanted.append((("", "error"), "serialization", TypeAdapter(Error)))
    schemas, shared = TypeAdapter.json_schemas(wanted, ref_template=_TEMPLATE)
    return dict(schemas), dict(sorted(shared.get("$defs", {}).items()))


def _operation(route: Route, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "x-scope": route.scope,
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": {str(route.status): _success(route, schemas), "default": _ERROR_REF},
    }
    if isinstance(route.handler, Forward):
        types = " and ".join(types_of(route.path))
        operation["description"] = f"For models of type {types}. The engine may know further members."
    bodies = {_JSON: (route.request, route.key), _FORM: (route.form, (_FORM, route.path))}
    if taken := {media: (model, key) for media, (model, key) in bodies.items() if model}:
        operation["requestBody"] = {
            "required": any(
                field.is_required() for model, _ in taken.values() for field in model.model_fields.values()
            ),
            "content": {media: {"schema": schemas[(key, "validation")]} for media, (_, key) in taken.items()},
        }
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path)
    return "_".join([route.method.lower(), *words])


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[Json]:
    if query is None:
        return []
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        for name, schema in query.model_json_schema()["properties"].items()
    ]


def _success(route: Route, schemas: _Schemas) -> Json:
    answer = schemas[(route.key, "serialization")]
    content = {media: {"schema": answer if media == _JSON else {"type": "string"}} for media in route.media}
    return {"description": route.summary, "content": content}


def _error() -> Json:
    return {
        "description": "A sentence for the person who can act on it.",
        "content": {_JSON: {"schema": _ref("Error")}},
    }


def _ref(name: str) -> Json:
    return {"$ref": _TEMPLATE.format(model=name)}

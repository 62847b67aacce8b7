"""Bodies and queries of requests, checked by pydantic; what is wrong with them is one sentence."""

from __future__ import annotations

from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from xserve.http.body import read_body
from xserve.http.errors import ApiError

BODY_BYTES = 4 << 20
"""Largest body of a call that is not inference: a definition of 1 MiB, quoted as text within JSON."""

Model = TypeVar("Model", bound=BaseModel)


async def read_model(request: Request, model: type[Model]) -> Model:
    """The JSON body; an empty one counts as `{}`. Raises ApiError 400 naming the member at fault, or 413."""
    body = await read_body(request.scope, request.receive, BODY_BYTES)
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _unfit(error) from error


def read_query(request: Request, model: type[Model]) -> Model:
    """The query. Names that the model does not have are passed over. Raises ApiError 400."""
    given = request.query_params
    values: dict[str, Any] = {
        name: given.getlist(name) if get_origin(field.annotation) is list else given[name]
        for name, field in model.model_fields.items()
        if name in given
    }
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _unfit(error) from error


def _unfit(error: ValidationError) -> ApiError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else None
    return ApiError(400, _sentence(first), code="invalid_input", param=name)


def _sentence(fault: ErrorDetails) -> str:
    if fault["type"] == "json_invalid":
        return f"The body is not valid JSON: {fault['ctx']['error']}."
    if not fault["loc"]:
        return "The body must be a JSON object."
    if fault["type"] == "missing":
        return f"Invalid input. Please specify the `{_place(fault)}` field."
    reason = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
    return f"Invalid input. `{_place(fault)}`: {reason}"


def _place(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"])

"""Members of a request's body, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xserve_engine.wire import HttpError


def flag(body: Mapping[str, Any], name: str, default: bool) -> bool:
    """A member that is true or false. Raises `HttpError` 400."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise HttpError(400, f"The member {name} must be true or false.")
    return value


def count(body: Mapping[str, Any], name: str) -> int | None:
    """A member that is a whole number from 1 on, None if it is not given. Raises `HttpError` 400."""
    value = body.get(name)
    if value is not None and (type(value) is not int or value < 1):
        raise HttpError(400, f"The member {name} must be a whole number from 1 on.")
    return value


def text(value: Any, what: str) -> str:
    """A text, bare or as `{"text": ...}`. Raises `HttpError` 400."""
    found = value.get("text") if isinstance(value, dict) else value
    if not isinstance(found, str):
        raise HttpError(400, f'{what} must be a text, or an object with a text under "text".')
    return found

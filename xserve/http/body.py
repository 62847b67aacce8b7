"""Request bodies: read with a cap, find what routing needs, change single members.

Bodies with images are many megabytes, so nothing is built that is not needed: a typed decoder finds `model`
and its like and skips the rest, and a change keeps the bytes of every other member's value as they came.
Uploads are the matter of `http.form`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from xserve.http.errors import ApiError

Body = bytes | bytearray
MAX_ID = 128
"""Characters of a request's id; a longer one is none."""


class ClientGoneError(Exception):
    """The client has left; nobody is there to be answered."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says about its routing."""

    model: str
    stream: bool
    request_id: str = ""  # the name that the client gives to the request, if any


class _Routing(msgspec.Struct):
    model: str
    stream: bool | None = None
    request_id: Any = None
    kwargs: Any = None  # Xinference's client puts further members there, as JSON text


class _Further(msgspec.Struct):
    request_id: Any = None


_routing = msgspec.json.Decoder(_Routing)
_further = msgspec.json.Decoder(_Further)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"


async def read_body(scope: Scope, receive: Receive, limit: int) -> Body:
    """The whole body, at most `limit` bytes, counted as they arrive.

    Raises ApiError 413 as soon as the announced or the received length is beyond the limit, and
    ClientGoneError when the client leaves first.
    """
    _check_announced(scope, limit)
    message = await receive()
    body: Body = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body") and len(body) <= limit:
        if isinstance(body, bytes):
            body = bytearray(body)
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    if len(body) > limit:
        raise _too_large(limit)
    return body


def find_model(content_type: str, body: Body) -> Asked:
    """The model that a request names. Raises ApiError 400 or 415 saying what is wrong with the body."""
    if content_type.partition(";")[0].strip().lower() not in ("application/json", ""):
        raise ApiError(415, f"The body must be application/json, not {content_type}.")
    try:
        routing = _routing.decode(body)
    except msgspec.ValidationError as error:
        raise _unfit(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}.", code="invalid_json") from error
    named = routing.request_id is not None or routing.kwargs is not None
    request_id = chosen_id(routing.request_id, routing.kwargs) if named else ""
    return Asked(routing.model, bool(routing.stream), request_id)


def chosen_id(request_id: Any, kwargs: Any) -> str:
    """The id in either place, empty where neither has one that can be used: short, and fit for a header."""
    if isinstance(kwargs, str) and "request_id" in kwargs:
        with contextlib.suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            request_id = request_id or _further.decode(kwargs).request_id
    usable = isinstance(request_id, str) and request_id.isascii() and request_id.isprintable()
    return request_id if usable and len(request_id) <= MAX_ID else ""


def splice(body: Body, members: Mapping[str, Any], defaults: Mapping[str, Any]) -> bytes:
    """The JSON object with `members` set, and `defaults` set where it lacks them or says null.

    The values of all other members keep their bytes. The body must have passed `find_model`.
    Raises ApiError 400 where a member that routing skipped turns out to be malformed.
    """
    content: dict[str, Any] = dict(_open(body))
    for name, value in defaults.items():
        if name not in content or bytes(content[name]) == _NULL:
            content[name] = value
    content.update(members)
    return msgspec.json.encode(content)


def member(body: Body, name: str) -> Any:
    """The value of one member, None where it is absent. Raises ApiError 400 as `splice` does."""
    found = _open(body).get(name)
    return None if found is None else msgspec.json.decode(found)


def _open(body: Body) -> dict[str, msgspec.Raw]:
    """The members, their values as they came."""
    try:
        return _members.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}.", code="invalid_json") from error


def _check_announced(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body is longer than the {limit} bytes that are accepted here.", code="body_too_large")


def _unfit(error: msgspec.ValidationError) -> ApiError:
    """The body is JSON but not an object with a proper `model` and `stream`."""
    for name, wanted in (("model", "the name of a model, as text"), ("stream", "true or false")):
        if f"`$.{name}`" in str(error) or f"`{name}`" in str(error):
            return ApiError(400, f"The body needs `{name}`: {wanted}.", code="invalid_body", param=name)
    return ApiError(400, f"The body must be a JSON object: {error}.", code="invalid_body")

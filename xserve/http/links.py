"""Images as links: engines answer with the images themselves (`b64_json`), clients may want a `url` of each.

OpenAI's and Xinference's clients both mean `url` where they say nothing. The URL is one of this daemon, by the
name under which the client has reached it, and good for an hour. This is the only reply that is not passed on
as it came.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Scope

from xserve.http.body import Asked, Body, member
from xserve.http.call import Plain
from xserve.http.errors import ApiError
from xserve.http.form import AskedByForm
from xserve.http.gallery import Gallery, NoRoomError
from xserve.http.relay import Change
from xserve.http.wire import MalformedError

PATH = "/v1/images/files"
"""Where the images are; a name follows."""
_AUTHORITY = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


class Links:
    """Puts images into a gallery and their URLs into replies."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    def change(self, scope: Scope, asked: Asked, body: Body) -> Change | None:
        """What makes the reply of it that the client wants; None where that is the engine's own."""
        if _format(asked, body) == "b64_json":
            return None
        return partial(self._link, _base(scope))

    async def _link(self, base: str, reply: bytes) -> bytes:
        """The reply with URLs. Raises MalformedError for one without images, ApiError 507 without room for them."""
        answer, items = _items(reply)
        for item in items:
            image = item.get("b64_json")
            if image is not None:
                name = await self._keep(_decode(image))
                item.update(url=f"{base}{PATH}/{name}", b64_json=None)
        return msgspec.json.encode(answer)

    async def _keep(self, image: bytes) -> str:
        try:
            return await self._gallery.keep(image)
        except NoRoomError as error:
            message = f"{error} Ask for it with response_format: b64_json."
            raise ApiError(507, message, code="no_room", param="response_format") from error


async def show(call: Plain) -> Response:
    """An image by its name. Raises ApiError 404."""
    found = await call.parts.gallery.find(call.part("name"))
    if found is None:
        raise ApiError(404, "There is no such image, or no more: they are kept for an hour.", code="no_such_image")
    headers = {"cache-control": "private, max-age=3600, immutable", "x-content-type-options": "nosniff"}
    return Response(found[0], media_type=found[1], headers=headers)


def _format(asked: Asked, body: Body) -> Any:
    if isinstance(asked, AskedByForm):
        return asked.form.text(body, "response_format").strip()
    return member(body, "response_format")


def _base(scope: Scope) -> str:
    """Scheme and authority by which the client reached us."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return f"{scope.get('scheme', 'http')}://{host}" if _AUTHORITY.fullmatch(host) else ""


def _items(reply: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the reply, its images as parts of it). Raises MalformedError."""
    try:
        answer = msgspec.json.decode(reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"The engine's reply is not JSON: {error}.") from error
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise MalformedError("The engine's reply holds no list of images.")
    return answer, items


def _decode(image: Any) -> bytes:
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise MalformedError(f"The engine's reply holds an image that is not base64: {error}.") from error

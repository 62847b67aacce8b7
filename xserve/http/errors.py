"""The one error envelope, readable by the OpenAI and the Xinference client alike.

A plain response carries `{"detail": str, "error": {"message", "type", "code", "param", "source"}}`: the
Xinference client reads `detail`, the OpenAI client reads `error`. In an event stream the same `error`
object is one `data:` event. `source` tells the user who failed: xserve itself or the model's engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from starlette.types import Send

Source = Literal["xserve", "engine"]
Headers = Sequence[tuple[bytes, bytes]]

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


class ApiError(Exception):
    """An answer other than success: a status and a sentence for the person who can act on it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,  # noqa: A002 (the name of the member in the envelope)
        headers: Headers = (),
        source: Source = "xserve",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.type = type or error_type(status)
        self.headers = tuple(headers)
        self.source = source

    def envelope(self) -> dict[str, Any]:
        """The body as plain values."""
        return {"detail": self.message, "error": self._error()}

    def body(self) -> bytes:
        """The body of a plain response."""
        return msgspec.json.encode(self.envelope())

    def event(self) -> bytes:
        """The event that ends a stream which has already begun."""
        return b"data: " + msgspec.json.encode({"error": self._error()}) + b"\n\n"

    def _error(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "type": self.type,
            "code": self.code,
            "param": self.param,
            "source": self.source,
        }


def error_type(status: int) -> str:
    """The `type` that OpenAI's clients expect with a status."""
    return _TYPES.get(status, "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error")


def retry_after(seconds: int) -> tuple[bytes, bytes]:
    """The header that tells a client when to come back, in seconds."""
    return (b"retry-after", str(seconds).encode())


async def send_error(send: Send, error: ApiError) -> None:
    """Answer with an error; nothing may have been sent before."""
    await send_json(send, error.status, error.body(), error.headers)


async def send_json(send: Send, status: int, body: bytes, headers: Headers = ()) -> None:
    """Answer with a JSON body that is already encoded."""
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})

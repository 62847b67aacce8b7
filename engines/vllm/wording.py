"""vLLM's answers in the words of the contract, where they differ.

A middleware of vLLM's own server, named to it with `--middleware`. It changes four things:

* Thoughts are answered in `reasoning_content`, where vLLM writes `reasoning`. The key is exchanged in the bytes: in a
  JSON text a quoted name followed by a colon can only be a key, since quotes inside of strings are escaped.
* A ranked document is its text; vLLM adds a member for other media, null.
* A stream that breaks off with an error is not closed with `[DONE]`, as if it were whole.
* A path or method that there is not is answered with an error in OpenAI's shape, where vLLM's framework has its own.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

EXCHANGED = {  # per path: vLLM's bytes, and ours
    "/v1/chat/completions": (b'"reasoning":', b'"reasoning_content":'),
    "/v1/rerank": (b',"multi_modal":null', b""),
}
ERROR, DONE = b'data: {"error"', b"data: [DONE]"  # events of a stream
LENGTH = b"content-length"


class Wording:
    """ASGI middleware. vLLM sends every event of a stream, and every whole answer, in one piece."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back reworded."""
        await self.app(scope, receive, _reworded(scope, send) if scope["type"] == "http" else send)


def _reworded(scope: Message, send: Send) -> Send:
    """A `send` that exchanges words. A head that states a length waits for the body that decides it."""
    status, waiting, broken = 0, None, False

    async def exchange(message: Message) -> None:
        nonlocal status, waiting, broken
        if message["type"] == "http.response.start":
            status = message["status"]
            if any(name == LENGTH for name, _ in message["headers"]):
                waiting = message
                return
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            broken = broken or body.startswith(ERROR)
            withheld = broken and body.startswith(DONE)
            message = {**message, "body": b"" if withheld else reword(scope["path"], status, body)}
            if waiting is not None:
                await send(_with_length(waiting, len(message["body"])))
                waiting = None
        await send(message)

    return exchange


def reword(path: str, status: int, body: bytes) -> bytes:
    """The body, or a piece of a stream, in the contract's words."""
    if status in (404, 405) and body.startswith(b'{"detail"'):
        error = {"message": f"{json.loads(body)['detail']}: {path}", "type": "invalid_request_error", "code": status}
        return json.dumps({"error": error}).encode()
    return body.replace(*EXCHANGED[path]) if path in EXCHANGED else body


def _with_length(head: Message, length: int) -> Message:
    headers = [(name, str(length).encode() if name == LENGTH else value) for name, value in head["headers"]]
    return {**head, "headers": headers}

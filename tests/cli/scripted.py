"""A server that answers as a test says."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What the server was asked."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any


@dataclass
class Answer:
    """What the server says: one body, or pieces after which the connection ends."""

    body: Any = None
    status: int = 200
    pieces: Sequence[bytes] | None = None

    def content(self) -> bytes:
        """The body on the wire."""
        if self.pieces is not None:
            return b"".join(self.pieces)
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Script:
    """The answers by (method, path); a list is used up from the front, its last one stays."""

    address: str
    answers: dict[tuple[str, str], list[Answer | Callable[[Request], Answer]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Any, status: int = 200) -> None:
        """Answer so. Plain data is a JSON body."""
        known = [it if isinstance(it, Answer) or callable(it) else Answer(it, status) for it in answers]
        self.answers[method, path] = known

    def reply(self, request: Request) -> Answer:
        """Called by the server."""
        self.requests.append(request)
        known = self.answers.get((request.method, request.path))
        if not known:
            return Answer({"detail": f"the test did not expect {request.method} {request.path}"}, 599)
        answer = known.pop(0) if len(known) > 1 else known[0]
        return answer(request) if callable(answer) else answer


class Handler(BaseHTTPRequestHandler):
    """Asks the script."""

    script: Script

    def answer(self) -> None:
        """Reply to any method."""
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        request = Request(self.command, parts.path, parse_qs(parts.query), json.loads(raw) if raw else None)
        answer = self.script.reply(request)
        self.send_response(answer.status)
        self.end_headers()
        self.wfile.write(answer.content())

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that http.server looks for

    def address_string(self) -> str:
        """A unix peer has no address."""
        return "test"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Nothing: pytest shows what failed."""


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """The same over a unix socket."""

    daemon_threads = True


def serving(server: socketserver.BaseServer, script: Script) -> Iterator[Script]:
    """Serve the script in a thread."""
    server.RequestHandlerClass = type("Bound", (Handler,), {"script": script})  # type: ignore[assignment]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Outcome:
    """How a command line ended."""

    code: int
    out: str
    err: str

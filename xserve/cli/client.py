"""A small HTTP client for the daemon's API: JSON, lines and events, over TCP or a unix socket.

It stands on the standard library so that commands start fast. Each call has its own connection. An answer
other than success becomes an exception with the daemon's own sentence.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from xserve.cli.command import CommandError
from xserve.cli.locate import Target

Query = Mapping[str, Any]

_CONNECT = 5.0
"""Seconds for a connection."""
PATIENCE = 120.0
"""Seconds for an answer that the daemon has at hand; it may be busy."""


class NoDaemonError(CommandError):
    """Nobody answers at any of the addresses."""


class AnswerError(CommandError):
    """The daemon answered, and it was a refusal."""

    def __init__(self, status: int, message: str) -> None:
        """`message` is the daemon's sentence."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    name: str
    data: str


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Called by the base class before the first byte."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """The API of one daemon."""

    def __init__(self, target: Target) -> None:
        """Nothing is connected before the first call."""
        self._target = target

    def reach(self) -> None:
        """Connect, and no more. Raises NoDaemonError."""
        self._connect().close()

    def get(self, path: str, query: Query | None = None, patience: float = PATIENCE) -> Any:
        """The JSON answer to GET. `patience` is in seconds. Raises NoDaemonError, AnswerError or CommandError."""
        return self._json("GET", path, query, None, patience)

    def post(self, path: str, body: Any = None, query: Query | None = None, patience: float = PATIENCE) -> Any:
        """The JSON answer to POST; raises as `get`."""
        return self._json("POST", path, query, {} if body is None else body, patience)

    def delete(self, path: str) -> Any:
        """The JSON answer to DELETE; raises as `get`."""
        return self._json("DELETE", path, None, None, PATIENCE)

    def lines(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Iterator[str]:
        """The lines of an answer as they come, for as long as they come; raises as `get`."""
        with self._answer(method, path, query, body, None) as answer:
            for line in answer:
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    def events(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Iterator[Event]:
        """The server-sent events of an answer as they come; raises as `get`."""
        name, data = "message", list[str]()
        for line in self.lines(method, path, query, body):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
            elif not line and data:
                yield Event(name, "\n".join(data))
                name, data = "message", []

    def _json(self, method: str, path: str, query: Query | None, body: Any, patience: float) -> Any:
        with self._answer(method, path, query, body, patience) as answer:
            content = answer.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise CommandError(f"the answer to {method} {path} is not JSON; is {self._target.tried} xserve?") from error

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Query | None, body: Any, patience: float | None
    ) -> Iterator[HTTPResponse]:
        connection = self._connect()
        try:
            assert connection.sock is not None
            connection.sock.settimeout(patience)
            yield _ask(connection, method, _with_query(path, query), body)
        except TimeoutError as error:
            within = "in time" if patience is None else f"within {patience:g} s"
            raise CommandError(f"the daemon did not answer {method} {path} {within}") from error
        except (OSError, HTTPException) as error:
            raise CommandError(f"the connection to the daemon broke: {_why(error)}") from error
        finally:
            connection.close()

    def _connect(self) -> HTTPConnection:
        """A connection to the first address that takes one."""
        for address in self._target.addresses:
            connection = _connection(address)
            try:
                connection.connect()
            except (OSError, UnicodeError):  # the latter: a name that can be no host's
                connection.close()
                continue
            return connection
        raise NoDaemonError(f"no daemon answers; tried {self._target.tried}. Start one with: xserve serve")


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _connection(address: str) -> HTTPConnection:
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        return _UnixConnection("/" + path.lstrip("/"), _CONNECT)
    scheme, host, port = _split(address)
    if scheme not in {"http", "https"} or not host:
        raise CommandError(f"{address} is not an address; write for example http://127.0.0.1:9997 or unix:/run/x.sock")
    kind = HTTPSConnection if scheme == "https" else HTTPConnection
    return kind(host, port, timeout=_CONNECT)


def _split(address: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; nothing of what cannot be taken apart."""
    try:
        parts = urlsplit(address)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "", None, None


def _with_query(path: str, query: Query | None) -> str:
    said = {key: value for key, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(said, doseq=True)}" if said else path


def _ask(connection: HTTPConnection, method: str, path: str, body: Any) -> HTTPResponse:
    """Send the request; returns a successful answer, of which only the head was read."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "*/*"} if content is None else {"Accept": "*/*", "Content-Type": "application/json"}
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    if answer.status >= 300:
        raise AnswerError(answer.status, _sentence(answer))
    return answer


def _sentence(answer: HTTPResponse) -> str:
    """Why a call was refused, in the daemon's words where it has any."""
    content = answer.read().decode("utf-8", "replace")
    try:
        detail = json.loads(content)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = content.strip()[:500]
    return str(detail) or f"the daemon answered {answer.status} {answer.reason}"


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__

"""Whether an engine is alive and answers, asked over its unix socket.

One request per connection, with a deadline and a bounded answer. The gateway has a client of its own, made
for speed; this one is made to be obviously right, and is called a few times a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from xserve.core.events import Answered, Event, Loaded, Unhealthy
from xserve.core.manifest import Probe
from xserve.runtime.probing import compose_probe
from xserve.runtime.records import explain
from xserve.runtime.settings import RuntimeSettings

_log = logging.getLogger(__name__)
_MAX_BODY = 64 * 1024  # bytes of an answer that are read
_EXCERPT = 300  # characters of a refusal that are shown
_FASTEST = 0.02  # seconds between two looks at an engine that loads
_SLOWEST = 0.25


Content = tuple[str, bytes]
"""Content type and body."""


class NoAnswerError(Exception):
    """A sentence about why there was no HTTP answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; the body is cut at 64 KiB."""

    status: int
    body: bytes

    def excerpt(self) -> str:
        """The start of the body as one line of text."""
        return " ".join(self.body.decode(errors="replace").split())[:_EXCERPT]


async def request(socket: str, path: str, deadline: float, content: Content | None = None) -> Answer:
    """GET the path, or POST the content. Raises NoAnswerError; `deadline` is in seconds."""
    try:
        async with asyncio.timeout(deadline):
            async with _connection(socket) as (reader, writer):
                writer.write(_compose(path, content))
                return await _read_answer(reader)
    except TimeoutError:
        raise NoAnswerError(f"no answer from {path} within {deadline:g} s") from None
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise NoAnswerError(f"no answer from {path}: {explain(error)}") from error


class Watch:
    """Follows one engine from its first sign of life to its sickness, and reports what it sees."""

    def __init__(
        self, instance: str, socket: str, uid: str, settings: RuntimeSettings, report: Callable[[Event], None]
    ) -> None:
        self._instance = instance
        self._socket = socket
        self._uid = uid
        self._settings = settings
        self._report = report

    async def run(self, health: str, probe: Probe | None) -> None:
        """Report `Loaded`, then `Answered`, then at most one `Unhealthy`; ends with that or by cancellation."""
        try:
            complaint = await self._complaint(health, probe)
        except Exception as error:  # the last line of defence: a replica that nobody watches would never be ready
            _log.exception("watching %s", self._instance)
            complaint = f"it cannot be watched: {error}"
        self._report(Unhealthy(self._instance, complaint))

    async def _complaint(self, health: str, probe: Probe | None) -> str:
        """What is wrong with it, once something is."""
        await self._until_loaded(health)
        self._report(Loaded(self._instance))
        complaint = None if probe is None else await self._prove(probe)
        if complaint is not None:
            return complaint
        self._report(Answered(self._instance, probed=probe is not None))
        return await self._until_sick(health)

    async def _until_loaded(self, health: str) -> None:
        """Look often at first; later a look may cost a twentieth of the time that has passed."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while await self._look(health) is not None:
            pause = min(max((clock() - began) / 20, _FASTEST), _SLOWEST)
            await asyncio.sleep(pause)  # another process's state sets no event here

    async def _prove(self, probe: Probe) -> str | None:
        """Send the tiny real request; returns what is wrong with the answer."""
        try:
            answer = await request(
                self._socket, probe.path, self._settings.probe_deadline, compose_probe(probe, self._uid)
            )
        except NoAnswerError as error:
            return f"The readiness probe failed: {error}."
        if answer.status == 200:
            return None
        return f"The readiness probe {probe.path} was answered with status {answer.status}: {answer.excerpt()}"

    async def _until_sick(self, health: str) -> str:
        """Look at intervals until enough looks in a row failed; returns the last complaint."""
        misses = 0
        complaint: str | None = None
        while misses < self._settings.health_misses:
            await asyncio.sleep(self._settings.health_interval)
            complaint = await self._look(health)
            misses = 0 if complaint is None else misses + 1
        return f"{misses} health checks in a row failed: {complaint}."

    async def _look(self, health: str) -> str | None:
        """What is wrong with the engine's health; None: nothing."""
        try:
            answer = await request(self._socket, health, self._settings.health_deadline)
        except NoAnswerError as error:
            return str(error)
        return None if answer.status == 200 else f"{health} answered with status {answer.status}"


@asynccontextmanager
async def _connection(socket: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(socket, limit=_MAX_BODY)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def _compose(path: str, content: Content | None) -> bytes:
    if content is None:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    kind, body = content
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, status, *_ = status_line.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("what came is not HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status), await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """The body up to the cap, whichever way its end is told."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    if "content-length" in headers:
        return await reader.readexactly(min(int(headers["content-length"]), _MAX_BODY))
    return await _read_to_end(reader)


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < _MAX_BODY and (piece := await reader.read(_MAX_BODY - len(body))):
        body += piece
    return body


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(min(size, _MAX_BODY)))[: _MAX_BODY - len(body)]
        if size > _MAX_BODY or len(body) == _MAX_BODY:
            break
        await reader.readexactly(2)
    return body

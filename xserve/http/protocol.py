"""uvicorn's HTTP/1.1 protocol with limits and deadlines, which it lacks.

A connection is always in one of three states, and each has its deadline, so that no client can hold a
connection by doing nothing or almost nothing:

    awaiting a request   first one: `head_seconds`; afterwards uvicorn's own keep-alive timeout
    sending a head       `head_seconds` from its first byte, `head_bytes` in all (431)
    sending a body       `body_floor` bytes in every `body_seconds`; a trickle is cut (408). Once the request
                         has been answered, the rest of its body must end within `body_seconds` altogether

and a client that does not take its answer for `stalled_seconds` while our write buffer is full is cut off.
A request that arrives whole in one read, as nearly all do, arms no timer at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from xserve.http.departure import EXTENSION
from xserve.http.errors import ApiError

LINGER_SECONDS = 1.0
"""How long a refused client may go on sending. Closing on unread data would reset the connection, and the
client would lose the refusal that it has not read yet."""
MAX_PIPELINED = 16
"""Requests that a client may send ahead of their answers."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of one listener's connections."""

    connections: int = 4096  # open at once; beyond that a new one is answered 503 and closed
    head_bytes: int = 64 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    body_floor: int = 16 * 1024  # bytes that a body must advance by in every `body_seconds`
    idle_seconds: int = 75  # an open connection without a request
    stalled_seconds: float = 60.0  # our write buffer stays full


class JoinedWriter:
    """What a response is written to: its head waits for the first of its body, at most until the loop turns.

    uvloop writes at once, so that head and body would cost a system call each, and that is a fifth of what
    a request costs here.
    """

    __slots__ = ("_begun", "_held", "_loop", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._held = b""
        self._begun = False

    def write(self, data: bytes) -> None:
        """Write, or hold back if it is the first."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif self._begun:
            self._transport.write(data)
        else:
            self._begun = True
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close when all has been written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the client's connection is closing."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)


class GuardedProtocol(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, config: Config, state: ServerState, app_state: dict[str, Any], limits: ConnectionLimits) -> None:
        super().__init__(config, state, app_state)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None  # of the head or the body that is being received
        self._stall: asyncio.TimerHandle | None = None
        self._receiving = ""  # "", "head" or "body"
        self._armed_for = ""
        self._head_size = 0  # bytes of the head in earlier reads
        self._read_size = 0  # bytes of the read that is being parsed
        self._advance = 0  # bytes of the body since the timer was armed
        self._refused = False  # whatever still comes is thrown away
        self._answering: RequestResponseCycle | None = None
        self._on_departure: Callable[[], None] | None = None

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(ApiError(503, "Too many connections are open.", code="too_many_connections"))
            self.transport.close()  # no lingering: descriptors are what is short
            return
        self._arm("head", self._limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._read_size = len(data)
        super().data_received(data)
        if self._receiving == "head":
            self._head_size += len(data)
            if self._head_size > self._limits.head_bytes:
                self._refuse_head()
                return
        if self._receiving != self._armed_for:
            self._rearm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._end_stall()
        self._tell_of_departure()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(self._limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_stall()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        self._on_departure = None
        cycle.scope["extensions"] = {EXTENSION: self._watch_departure}  # type: ignore[dict-item]
        cycle.transport = JoinedWriter(self.loop, self.transport)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def _watch_departure(self, callback: Callable[[], None]) -> None:
        self._on_departure = callback
        self.flow.resume_reading()  # uvicorn may have paused it in a large body; departures are read

    def _tell_of_departure(self) -> None:
        """uvicorn tells only the newest of pipelined requests, and only who waits in `receive()`."""
        if self._answering is None or self._answering.response_complete:
            return
        self._answering.disconnected = True
        self._answering.message_event.set()
        if self._on_departure is not None:
            self._on_departure()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._receiving = "head"

    def on_headers_complete(self) -> None:
        if (
            self._read_size + self._head_size > self._limits.head_bytes
            and self._measured_head() > self._limits.head_bytes
        ):
            raise ValueError("the head is too large")
        self._receiving = "body"
        self._head_size = 0
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
        elif self.pipeline:
            self.flow.resume_reading()  # uvicorn stops reading here, and would not notice the client leave

    def on_body(self, body: bytes) -> None:
        if not self.cycle.response_complete:
            self._advance += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._receiving = ""

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this for whatever cannot be parsed."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # an answer is under way; another one in its midst would be taken for it
        elif self._measured_head() > self._limits.head_bytes:
            self._refuse_head()
        else:
            self._refuse(ApiError(400, "This is not a valid HTTP request.", code="invalid_http"))

    # deadlines

    def _rearm(self) -> None:
        if self._receiving == "":
            self._disarm()
        elif self._receiving == "head":
            self._arm("head", self._limits.head_seconds)
        else:
            self._advance = 0
            self._arm("body", self._limits.body_seconds)

    def _arm(self, purpose: str, seconds: float) -> None:
        self._disarm()
        self._armed_for = purpose
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        self._armed_for = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        """The deadline of a head, or a check of a body's progress."""
        if self._armed_for == "body" and (self._advance >= self._limits.body_floor or self.flow.read_paused):
            self._rearm()
        elif self.cycle is not None and self._armed_for == "body":
            self._refuse_body()
        else:
            self._refuse(ApiError(408, "The request did not arrive in time.", code="request_timeout"))

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # refusals

    def _refuse_head(self) -> None:
        limit = self._limits.head_bytes
        self._refuse(ApiError(431, f"The request's head is longer than {limit} bytes.", code="head_too_large"))

    def _refuse_body(self) -> None:
        """The application waits for this body: it has to learn that none will come, and must not answer."""
        if self.cycle.response_started:
            self.transport.abort()
            return
        self._tell_of_departure()
        self._refuse(ApiError(408, "The request's body did not arrive in time.", code="request_timeout"))

    def _refuse(self, error: ApiError) -> None:
        """Answer outside the application and close: our side now, the client's when it has had time to read."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._receiving = ""
        self._disarm()
        body = error.body()
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _measured_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

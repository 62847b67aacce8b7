"""The shim's conversations: JSON lines over sockets, one object a line.

The daemon that starts a shim holds the other end of its standard input: that link is trusted, and its end
means that the daemon is gone. A later daemon comes through the control socket and shows the nonce.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping

from xserve.runtime.records import forget

_MAX_LINE = 64 * 1024  # bytes; no honest request comes near


class HangupError(Exception):
    """The peer closed its end, or talks nonsense."""


class Link:
    """One peer."""

    def __init__(self, peer: socket.socket, *, trusted: bool) -> None:
        peer.setblocking(False)
        self.peer = peer
        self.trusted = trusted
        self._rest = b""

    def requests(self) -> Iterator[dict[str, object]]:
        """The requests that have arrived. Raises HangupError after the last one."""
        data = self._receive()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield _parse(line)
        if not data or len(self._rest) > _MAX_LINE:
            raise HangupError

    def send(self, message: Mapping[str, object]) -> None:
        """Tell the peer; one that has gone or does not read misses it."""
        with contextlib.suppress(OSError):
            self.peer.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self) -> bytes:
        try:
            return self.peer.recv(_MAX_LINE)
        except OSError:
            return b""


def listen(path: str) -> socket.socket:
    """A control socket that only its owner may connect to, in place of one left behind. Raises OSError."""
    forget(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(8)
    listener.setblocking(False)
    return listener


def _parse(line: bytes) -> dict[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise HangupError from None
    if not isinstance(request, dict):
        raise HangupError
    return request

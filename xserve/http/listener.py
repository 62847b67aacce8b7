"""Runs one ASGI application on one bound socket, inside the running event loop.

uvicorn's protocol does the HTTP; its `Server` is left out, because it takes over signals, polls ten times a
second and ends the process where it cannot go on. What is left of it is short: accept, refresh the `Date`
header, and stop in two steps (finish what is being answered, then cut off). Each request's
`scope["state"]["listener"]` names the listener it came by.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from email.utils import formatdate

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from xserve.http.protocol import ConnectionLimits, GuardedProtocol


class Listener:
    """One listening socket and the connections that came by it."""

    def __init__(self, app: ASGIApp, bound: socket.socket, name: str, limits: ConnectionLimits | None = None) -> None:
        """Take over `bound` (from `sockets`); `name` is what requests are marked with: "tcp" or "admin"."""
        self.name = name
        self._limits = limits or ConnectionLimits()
        self._socket = bound
        self._config = _config(app, self._limits)
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """`host:port`, or the path of the unix socket."""
        name = self._socket.getsockname()
        if isinstance(name, str):
            return name
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    @property
    def port(self) -> int:
        """The TCP port. Raises TypeError for a unix socket."""
        name = self._socket.getsockname()
        if isinstance(name, str):
            raise TypeError("a unix socket has no port")
        return int(name[1])

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._state.connections)

    async def start(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=self._socket)
        self._tick()

    async def stop(self, grace: float) -> None:
        """Accept nothing more, let running requests end for `grace` seconds, cancel the rest."""
        self._close_socket()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=grace)
        await self._cut_off()
        if self._ticker is not None:
            self._ticker.cancel()

    def _protocol(self) -> GuardedProtocol:
        return GuardedProtocol(self._config, self._state, {"listener": self.name}, self._limits)

    def _close_socket(self) -> None:
        path = self._socket.getsockname()
        if self._server is not None:
            self._server.close()
        self._socket.close()
        if isinstance(path, str):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    async def _cut_off(self) -> None:
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._state.connections):
            transport: asyncio.Transport = connection.transport
            transport.close()

    def _tick(self) -> None:
        """Refresh the Date header every second."""
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode("ascii"))]
        self._ticker = asyncio.get_running_loop().call_later(1.0, self._tick)


def _config(app: ASGIApp, limits: ConnectionLimits) -> Config:
    config = Config(
        app,
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.idle_seconds,
    )
    config.load()
    return config

"""Where the daemon listens: the public address, and the admin socket for commands on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from ipaddress import ip_address
from pathlib import Path

from starlette.types import ASGIApp

from xserve import __version__
from xserve.core.settings import Limits, Settings
from xserve.files.layers import Layers
from xserve.files.writer import replace
from xserve.http.guard import LOCAL_NAMES, GuardRules
from xserve.http.listener import Listener
from xserve.http.protocol import ConnectionLimits
from xserve.http.sockets import bind_tcp, bind_unix

_log = logging.getLogger("xserve")


class Doors:
    """The two listeners, and the file that says where they are."""

    def __init__(self, layers: Layers, settings: Settings, sockets: Path) -> None:
        self._layers = layers
        self._settings = settings
        self._sockets = sockets
        self._listeners: list[Listener] = []

    def rules(self) -> GuardRules:
        """What requests must look like; see `http.guard`."""
        settings = self._settings
        check_host = is_loopback(settings.host) or bool(settings.allowed_hosts)
        return GuardRules(names=frozenset({*LOCAL_NAMES, *settings.allowed_hosts}), check_host=check_host)

    async def open(self, app: ASGIApp) -> None:
        """Listen from now on, and tell clients on this machine where. Raises BindError and OSError."""
        settings = self._settings
        limits = _connection_limits(settings.limits)
        bound = bind_unix(settings.uds, 0o660) if settings.uds else bind_tcp(settings.host, settings.port)
        public = Listener(app, bound, "tcp", limits)
        admin = Listener(app, bind_unix(str(self._sockets / "admin.sock")), "admin", limits)
        self._listeners = [public, admin]
        for listener in self._listeners:
            await listener.start()
        self._announce(public, admin)

    async def close(self, grace: float) -> None:
        """Accept nothing more; requests in flight may go on for `grace` seconds."""
        await asyncio.gather(*(listener.stop(grace) for listener in self._listeners))

    def _announce(self, public: Listener, admin: Listener) -> None:
        url = None if self._settings.uds else f"http://{public.address}"
        contact = {"pid": os.getpid(), "admin_socket": admin.address, "url": url, "version": __version__}
        replace(str(self._layers.daemon_file), json.dumps(contact).encode())
        _log.info("listening on %s", url or self._settings.uds)
        _log.info("drop definitions into %s, deployments into %s", *self._layers.drop_here())


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _connection_limits(limits: Limits) -> ConnectionLimits:
    return ConnectionLimits(
        head_seconds=limits.header_deadline,
        body_seconds=limits.body_deadline,
        idle_seconds=round(limits.keep_alive),
        stalled_seconds=limits.send_deadline,
    )

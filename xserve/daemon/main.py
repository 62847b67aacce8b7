"""`xserve serve`: settings, lock, signals, and the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop

from xserve.core.settings import Settings
from xserve.daemon.doors import is_loopback
from xserve.daemon.logs import set_up_logging
from xserve.daemon.service import Daemon
from xserve.daemon.settings import load_settings
from xserve.files.layers import Layers
from xserve.http.sockets import BindError
from xserve.runtime.lock import AlreadyLockedError, DirectoryLock
from xserve.runtime.paths import UnusablePathError, socket_directory

FAILED, ALREADY_SERVED = 1, 5


def serve(
    config_dir: str | None, host: str | None, port: int | None, uds: str | None, log_level: str, log_format: str
) -> int:
    """Run the daemon in the foreground; returns the exit code: 0, 1 (cannot start) or 5 (already served)."""
    set_up_logging(log_level, log_format)
    _raise_descriptor_limit()
    layers = Layers.find(config_dir)
    settings = load_settings(layers, host=host, port=port, uds=uds)
    if isinstance(settings, list):
        return _cannot_start(*(str(problem) for problem in settings))
    if not settings.uds and not is_loopback(settings.host) and not settings.insecure_no_auth:
        return _cannot_start(
            f"refusing to listen on {settings.host}: there are no keys, so whoever reaches it may do everything; "
            f"listen on 127.0.0.1, or write insecure_no_auth: true into {layers.settings}"
        )
    try:
        layers.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with DirectoryLock(layers.state):
            layers.prepare()
            sockets = socket_directory(layers.run, os.environ)
            uvloop.run(_serve(layers, settings, sockets))
    except AlreadyLockedError as error:
        print(f"xserve: {error}", file=sys.stderr)  # noqa: T201
        return ALREADY_SERVED
    except (BindError, UnusablePathError) as error:
        return _cannot_start(str(error))
    except OSError as error:
        return _cannot_start(f"cannot use {error.filename or layers.state}: {error.strerror or error}")
    return 0


def _raise_descriptor_limit() -> None:
    """Every client, engine connection and log takes a descriptor: use all that the system grants."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(layers: Layers, settings: Settings, sockets: Path) -> None:
    daemon = Daemon(layers, settings, sockets)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.interrupt)
    loop.add_signal_handler(signal.SIGHUP, daemon.reload)
    await daemon.run()


def _cannot_start(*sentences: str) -> int:
    for sentence in sentences:
        print(f"xserve: {sentence}", file=sys.stderr)  # noqa: T201
    return FAILED

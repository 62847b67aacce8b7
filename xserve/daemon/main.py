"""`xserve serve`: builds the daemon from its parts, runs it, and takes it down in order.

Order of leaving: say no to new work, let requests in flight end, stop every replica, leave nothing behind. A
second signal cuts the waiting short.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import sys
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import uvloop

from xserve import __version__
from xserve.core.events import Drained, Event
from xserve.core.reconcile import Policy
from xserve.core.settings import Settings
from xserve.daemon.control import DaemonControl, Surroundings
from xserve.daemon.discovery import bundled
from xserve.daemon.eventlog import EventLog
from xserve.daemon.logs import set_up_logging
from xserve.daemon.look import Looker
from xserve.daemon.loop import Loop, Parts
from xserve.daemon.settings import load_settings
from xserve.daemon.trials import Trials
from xserve.daemon.world import World
from xserve.files.layers import Layers
from xserve.files.watch import Watch
from xserve.files.writer import replace as write_file
from xserve.http.app import build_app
from xserve.http.guard import LOCAL_NAMES, GuardRules
from xserve.http.listener import Listener
from xserve.http.protocol import ConnectionLimits
from xserve.http.proxy import Proxy, ProxyLimits
from xserve.http.sockets import BindError, bind_tcp, bind_unix
from xserve.http.traffic import Traffic
from xserve.http.upstream import Upstream
from xserve.placement.first_fit import first_fit
from xserve.runtime.local import LocalRuntime
from xserve.runtime.lock import AlreadyLockedError, DirectoryLock
from xserve.runtime.paths import UnusablePathError, socket_directory
from xserve.runtime.settings import RuntimeSettings

FAILED, ALREADY_SERVED = 1, 5
_BEAT = 0.5  # seconds between two heartbeats of the loop
_log = logging.getLogger("xserve")


@dataclass
class Daemon:
    """A daemon that was built and is not running yet."""

    layers: Layers
    settings: Settings
    sockets: Path
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    signals: int = 0
    ready: bool = False
    beat: float = 0.0

    def build(self) -> None:
        """Put the parts together. Raises BindError and OSError."""
        settings = self.settings
        loop = self.thread = asyncio.get_running_loop()
        self.runtime = LocalRuntime(self.layers.run, self.sockets, self._report, _runtime_settings(settings))
        self.traffic = Traffic(self._drained)
        self.upstream = Upstream()
        self.events = EventLog()
        policy = Policy(settings.start_timeout, settings.drain_timeout, settings.max_starting)
        self.parts = Parts(
            runtime=self.runtime,
            traffic=self.traffic,
            events=self.events,
            place=first_fit,
            policy=policy,
            restart=settings.restart,
            clock=loop.time,
            forget=self.upstream.forget,
        )
        self.loop = Loop(self.parts)
        self.world = World(self.layers, settle=settings.settle, hold=settings.resync, engine_dirs=settings.engine_dirs)
        self.watch = Watch(self._wake_from_thread) if settings.watch else None
        self.looker = Looker(self.world, self.loop, self.events, settings.resync, self._rearm)
        self.trials = Trials(loop.time)
        around = Surroundings(self._watching, lambda: self.ready, lambda: self.beat, self.looker.look, self.looker.peek)
        self.control = DaemonControl(self.parts, self.loop, self.world, self.trials, around)
        self.listeners = self._listeners()

    async def run(self) -> None:
        """Serve until a signal comes, then leave in order."""
        self.beat = asyncio.get_running_loop().time()
        swept = await asyncio.to_thread(self.runtime.sweep)
        if swept.killed:
            self.events.add("daemon", f"ended {len(swept.killed)} processes that an earlier daemon left")
        tasks = [asyncio.create_task(self._beat(), name="heartbeat")]
        for listener in self.listeners:
            await listener.start()
        self._announce()
        await self.looker.look()
        # Thousands of definitions live for long: the collector need not walk them at every look.
        gc.collect()
        gc.freeze()
        self.ready = True
        self.events.add("daemon", "ready: the first pass over all files is done")
        tasks.append(asyncio.create_task(self.looker.run(), name="looker"))
        await self.leaving.wait()
        await self._leave(tasks)

    def interrupt(self) -> None:
        """A signal to leave: the first one in order, the second one at once."""
        self.signals += 1
        self.leaving.set()

    def reload(self) -> None:
        """SIGHUP: look at everything now."""
        task = asyncio.create_task(self.control.reload(), name="reload")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # --- leaving -------------------------------------------------------------------------------------------

    async def _leave(self, tasks: list[asyncio.Task[None]]) -> None:
        self.ready = False
        self.events.add("daemon", "leaving: no new requests; those in flight may end")
        self.control.close()
        self.events.close()
        self.loop.nudge()
        await self._unless_hurried(self._stop_listening(self.settings.drain_timeout))
        self.loop.close()
        for task in tasks:
            task.cancel()
        if self.watch is not None:
            self.watch.close()
        await self._unless_hurried(self.runtime.close(self.settings.stop_timeout))
        await self.runtime.close(0.0)
        self.upstream.close()
        self.layers.daemon_file.unlink(missing_ok=True)

    async def _stop_listening(self, grace: float) -> None:
        await asyncio.gather(*(listener.stop(grace) for listener in self.listeners))

    async def _unless_hurried(self, work: object) -> None:
        """Wait for the work, but no longer than until the second signal."""
        running = asyncio.ensure_future(work)  # type: ignore[call-overload]
        while not running.done() and self.signals < 2:
            await asyncio.wait({running}, timeout=0.05)
        if not running.done():
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    # --- what the parts tell each other --------------------------------------------------------------------

    def _report(self, event: Event) -> None:
        self.loop.report(event)

    def _drained(self, instance: str) -> None:
        self.loop.report(Drained(instance))

    def _wake_from_thread(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self.thread.call_soon_threadsafe(self.looker.wake)

    def _rearm(self) -> None:
        if self.watch is not None:
            self.watch.arm([*self.layers.watched(), str(bundled("models.d"))])

    def _watching(self) -> str:
        return self.watch.state if self.watch is not None else f"not watching; a look every {self.settings.resync:g} s"

    async def _beat(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            self.beat = clock()
            await asyncio.sleep(_BEAT)

    # --- listening -----------------------------------------------------------------------------------------

    def _listeners(self) -> list[Listener]:
        settings = self.settings
        limits = settings.limits
        names = frozenset({*LOCAL_NAMES, *settings.allowed_hosts})
        check_host = is_loopback(settings.host) or bool(settings.allowed_hosts)
        proxy = Proxy(self.traffic, self.upstream, ProxyLimits(body_bytes=limits.body_bytes))
        rules = GuardRules(names=names, check_host=check_host)
        metrics = {each.manifest.name: each.manifest.metrics for each in self.world.engines if each.manifest.metrics}
        app = build_app(self.control, proxy, rules=rules, engine_metrics=metrics)
        per_connection = ConnectionLimits(
            head_seconds=limits.header_deadline,
            body_seconds=limits.body_deadline,
            idle_seconds=round(limits.keep_alive),
            stalled_seconds=limits.send_deadline,
        )
        public = bind_unix(settings.uds, 0o660) if settings.uds else bind_tcp(settings.host, settings.port)
        admin = bind_unix(str(self.sockets / "admin.sock"))
        self.public = Listener(app, public, "tcp", per_connection)
        self.admin = Listener(app, admin, "admin", per_connection)
        return [self.public, self.admin]

    def _announce(self) -> None:
        """Tell clients on this machine where to find us."""
        content = {
            "pid": os.getpid(),
            "admin_socket": self.admin.address,
            "url": None if self.settings.uds else f"http://{self.public.address}",
            "version": __version__,
        }
        write_file(str(self.layers.daemon_file), json.dumps(content).encode())
        _log.info("listening on %s", content["url"] or self.settings.uds)
        _log.info("drop definitions into %s, deployments into %s", *self.layers.drop_here())


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _runtime_settings(settings: Settings) -> RuntimeSettings:
    return RuntimeSettings(
        log_max_bytes=settings.logs.max_bytes,
        log_keep=settings.logs.keep,
        health_interval=settings.health.interval,
        health_deadline=settings.health.deadline,
        health_misses=settings.health.misses,
        probe_deadline=settings.health.probe_deadline,
    )


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
    except (BindError, UnusablePathError, OSError) as error:
        return _cannot_start(str(error))
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
    daemon.build()
    loop.add_signal_handler(signal.SIGHUP, daemon.reload)
    await daemon.run()


def _cannot_start(*sentences: str) -> int:
    for sentence in sentences:
        print(f"xserve: {sentence}", file=sys.stderr)  # noqa: T201
    return FAILED

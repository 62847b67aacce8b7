"""The running daemon: its parts put together, its start, and its end.

Order of leaving: say no to new work, let requests in flight end, stop every replica, leave nothing behind. A
second signal cuts the waiting short.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from xserve.core.desired import Desired
from xserve.core.events import Drained, Event
from xserve.core.reconcile import Policy
from xserve.core.settings import Settings
from xserve.daemon.control import DaemonControl, Surroundings
from xserve.daemon.discovery import bundled
from xserve.daemon.doors import Doors
from xserve.daemon.eventlog import EventLog
from xserve.daemon.look import Looker
from xserve.daemon.loop import Loop, Parts
from xserve.daemon.preparing import Preparer
from xserve.daemon.tasks import Tasks
from xserve.daemon.trials import Trials
from xserve.daemon.world import World
from xserve.files.layers import Layers
from xserve.files.watch import Watch
from xserve.http.app import build_app
from xserve.http.gallery import Gallery
from xserve.http.proxy import Proxy, ProxyLimits
from xserve.http.traffic import Traffic
from xserve.http.upstream import Upstream
from xserve.placement.first_fit import first_fit
from xserve.runtime.local import LocalRuntime
from xserve.runtime.settings import RuntimeSettings

_BEAT = 0.5  # seconds between two heartbeats of the loop
_log = logging.getLogger("xserve")


class Daemon:
    """One daemon. To be made and used on the event loop's thread, which must be the main thread."""

    def __init__(self, layers: Layers, settings: Settings, sockets: Path) -> None:
        """Put the parts together; nothing runs yet. Raises OSError where a directory cannot be used."""
        loop = self.thread = asyncio.get_running_loop()
        self.layers = layers
        self.settings = settings
        self.sockets = sockets
        self.leaving = asyncio.Event()
        self.hurry = asyncio.Event()
        self.ready = False
        self.beat = loop.time()
        self.runtime = LocalRuntime(layers.run, sockets, self._report, _runtime_settings(settings))
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
        self.world = World(layers, settings, settle=settings.settle, hold=settings.resync)
        self.watch = Watch(self._wake_from_thread) if settings.watch else None
        self.looker = Looker(self.world, self._see, self.events, settings.resync, self._rearm)
        self.preparer = Preparer(self.world.environments, self.events, self.looker.wake)
        self.trials = Trials(loop.time)
        around = Surroundings(
            watching=self._watching,
            accepting=lambda: self.ready,
            heartbeat=lambda: self.beat,
            look=self.looker.look,
            peek=self.looker.peek,
            allow_env=settings.allow_env,
        )
        self.control = DaemonControl(self.parts, self.loop, self.world, self.trials, around)
        self.doors = Doors(layers, settings, sockets)
        self._tasks = Tasks()

    async def run(self) -> None:
        """Serve until a signal comes, then leave in order. Raises BindError."""
        swept = await asyncio.to_thread(self.runtime.sweep)
        if swept.killed:
            self.events.add("daemon", f"ended {len(swept.killed)} processes that an earlier daemon left")
        tasks = [asyncio.create_task(self._beat(), name="heartbeat")]
        # After the sweep, which removes every socket that it finds.
        await self.doors.open(self._application())
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
        if self.leaving.is_set():
            self.hurry.set()
        self.leaving.set()

    def reload(self) -> None:
        """SIGHUP: look at everything now."""
        self._tasks.keep(self.control.reload(), "reload").add_done_callback(_log_failure)

    # --- leaving -------------------------------------------------------------------------------------------

    async def _leave(self, tasks: list[asyncio.Task[None]]) -> None:
        self.ready = False
        self.events.add("daemon", "leaving: no new requests; those in flight may end")
        self.control.close()
        self.preparer.close()
        self.events.close()
        self.loop.nudge()
        await self._unless_hurried(self.doors.close(self.settings.drain_timeout))
        self.loop.close()
        for task in tasks:
            task.cancel()
        if self.watch is not None:
            self.watch.close()
        await self._unless_hurried(self.runtime.close(self.settings.stop_timeout))
        await self.runtime.close(0.0)
        self.upstream.close()
        self.layers.daemon_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of another program's lies in it
            self.sockets.rmdir()

    async def _unless_hurried(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the work, but no longer than until the second signal."""
        running, hurry = asyncio.create_task(work), asyncio.create_task(self.hurry.wait())
        await asyncio.wait({running, hurry}, return_when=asyncio.FIRST_COMPLETED)
        for task in (running, hurry):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    def _application(self) -> ASGIApp:
        limits = ProxyLimits(body_bytes=self.settings.limits.body_bytes)
        proxy = Proxy(self.traffic, self.upstream, limits, gallery=Gallery(parent=self.layers.run))
        metrics = {each.manifest.name: each.manifest.metrics for each in self.world.engines if each.manifest.metrics}
        return build_app(self.control, proxy, rules=self.doors.rules(), engine_metrics=metrics)

    # --- what the parts tell each other --------------------------------------------------------------------

    def _see(self, desired: Desired) -> None:
        self.loop.see(desired)
        self.preparer.follow(desired)

    def _report(self, event: Event) -> None:
        self.loop.report(event)

    def _drained(self, instance: str) -> None:
        self.loop.report(Drained(instance))

    def _wake_from_thread(self, paths: Collection[str]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self.thread.call_soon_threadsafe(self.looker.wake, paths)

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


def _runtime_settings(settings: Settings) -> RuntimeSettings:
    return RuntimeSettings(
        log_max_bytes=settings.logs.max_bytes,
        log_keep=settings.logs.keep,
        health_interval=settings.health.interval,
        health_deadline=settings.health.deadline,
        health_misses=settings.health.misses,
        probe_deadline=settings.health.probe_deadline,
    )


def _log_failure(done: asyncio.Task[Any]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        _log.error("%s failed", done.get_name(), exc_info=error)

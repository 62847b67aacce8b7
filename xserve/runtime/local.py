"""Runs replicas on this machine: one shim, one process tree, one unix socket each.

`start` and `stop` return at once; each replica lives in a task of its own that reports events. Processes of
all replicas carry a mark that names this run directory, so that what a killed daemon left is found by `sweep`
when the next one starts, before it launches anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path

from xserve.core.events import Exited
from xserve.core.launch import Launch
from xserve.core.ports import Command, Report
from xserve.runtime.paths import InstancePaths
from xserve.runtime.records import forget
from xserve.runtime.replica import Order, Replica
from xserve.runtime.settings import RuntimeSettings
from xserve.runtime.sweep import Swept, run_id, sweep

_LAST_WAIT = 5.0  # seconds for trees to go after SIGKILL

_log = logging.getLogger(__name__)


class LocalRuntime:
    """`ports.Runtime` with shims. Use it from the event loop's thread, which must be the main thread."""

    def __init__(self, run_dir: Path, socket_dir: Path, report: Report, settings: RuntimeSettings) -> None:
        """Makes `run_dir/engines`; raises OSError if it cannot."""
        self._engines = run_dir / "engines"
        self._engines.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._run_id = run_id(run_dir)
        self._sockets = socket_dir
        self._report = report
        self._settings = settings
        self._replicas: dict[str, Replica] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, instance: str, launch: Launch, command: Command) -> None:
        """Begin to start a process tree; an instance that runs already is left alone."""
        if instance in self._replicas:
            return
        paths = InstancePaths(self._engines, self._sockets, instance)
        order = Order(instance, launch, command, paths, f"{self._run_id}:{instance}", self._settings)
        replica = self._replicas[instance] = Replica(order, self._report)
        self._tasks[instance] = asyncio.create_task(self._live(instance, replica), name=f"replica {instance}")

    def stop(self, instance: str, *, now: bool = False) -> None:
        """End the tree: SIGTERM, grace, SIGKILL (`now`: SIGKILL at once). Harmless if it is gone."""
        if instance in self._replicas:
            self._replicas[instance].stop(now=now)

    def address(self, instance: str) -> str:
        """Path of the unix socket that the instance listens on."""
        return InstancePaths(self._engines, self._sockets, instance).socket

    def log(self, instance: str) -> str:
        """Path of the instance's log file; older parts beside it end in `.1`, `.2`, …"""
        return str(InstancePaths(self._engines, self._sockets, instance).log)

    async def close(self, deadline: float) -> None:
        """Stop every replica and return when all are gone; what is left after `deadline` seconds is killed."""
        await self._stop_all(deadline, now=False)
        await self._stop_all(_LAST_WAIT, now=True)

    def sweep(self) -> Swept:
        """Kill what an earlier daemon of this run directory left, and remove its sockets.

        Blocks, at most some seconds. Call it before the first `start`, holding the directory's lock.
        """
        swept = sweep(f"{self._run_id}:", tuple(self._engines.iterdir()))
        for path in self._sockets.iterdir():
            if path.suffix in (".sock", ".ctl"):
                forget(str(path))
        self._prune()
        return swept

    async def _live(self, instance: str, replica: Replica) -> None:
        """Forget the replica before its end is reported: the name is free from then on."""
        end = await replica.run()
        del self._replicas[instance], self._tasks[instance]
        self._report(Exited(instance, end))
        with contextlib.suppress(OSError):  # somebody cleans up too
            self._prune()

    async def _stop_all(self, deadline: float, *, now: bool) -> None:
        for replica in self._replicas.values():
            replica.stop(now=now)
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=deadline)
        if now and self._tasks:
            _log.error("killed, but not gone: %s", ", ".join(sorted(self._tasks)))

    def _prune(self) -> None:
        """Remove the directories of all but the newest dead instances."""
        dead = [path for path in self._engines.iterdir() if path.name not in self._replicas]
        dead.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in dead[self._settings.dead_keep :]:
            shutil.rmtree(path, ignore_errors=True)

"""The life of one replica, as the daemon sees it: its files, its shim, its readiness, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xserve.core.events import Exit, Spawned
from xserve.core.launch import Launch
from xserve.core.ports import Command, Report
from xserve.runtime.environment import engine_environment
from xserve.runtime.health import Watch
from xserve.runtime.logs import tail
from xserve.runtime.paths import InstancePaths
from xserve.runtime.records import explain, forget, write_json
from xserve.runtime.settings import RuntimeSettings
from xserve.runtime.shim.spec import Spec
from xserve.runtime.sweep import sweep
from xserve.runtime.tree import MARK

_SHIM = str(Path(__file__).parent / "shim" / "__main__.py")
_TAIL_LINES = 40  # of the log, in the report of an end
_TAIL_BYTES = 16 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What is started: everything that a replica's life depends on."""

    instance: str
    launch: Launch
    command: Command
    paths: InstancePaths
    mark: str  # value of the environment variable that all its processes carry
    settings: RuntimeSettings


class Replica:
    """One run from start to end. Reports everything but `Exited`, which is the caller's."""

    def __init__(self, order: Order, report: Report) -> None:
        self._order = order
        self._report = report
        self._stop: dict[str, str] | None = None  # the last request to stop
        self._link: asyncio.StreamWriter | None = None  # to the shim
        self._watch: asyncio.Task[None] | None = None

    async def run(self) -> Exit:
        """Live and die; whatever goes wrong is told in the exit. The caller reports it."""
        try:
            return await self._live()
        except Exception as error:  # the last line of defence: a replica that raises would never be reported gone
            _log.exception("replica %s", self._order.instance)
            return Exit(code=None, sentence=f"cannot run {self._order.instance}: {_about(error)}{explain(error)}")

    def stop(self, *, now: bool) -> None:
        """Ask the shim to end the tree. Nothing but `Exited` is reported from here on."""
        self._stop = {"do": "kill" if now else "stop"}
        if self._watch is not None:
            self._watch.cancel()
        self._pass_on()

    async def _live(self) -> Exit:
        await asyncio.to_thread(self._write_files)
        if self._stop is not None:
            return Exit(code=None, sentence="It was stopped before its process was started.")
        shim, link = self._spawn_shim()
        try:
            record = await self._converse(link)
        finally:
            self._unwatch()
            link.close()  # without it the shim takes the daemon for gone, and leaves
            await asyncio.to_thread(shim.wait)
        if record is None:
            record = await self._bury(shim.returncode)
        return self._exit(record)

    def _write_files(self) -> None:
        paths = self._order.paths
        paths.check()
        if not self._order.command.argv:
            raise ValueError("the engine's manifest has an empty command")
        shutil.rmtree(paths.directory, ignore_errors=True)  # of an earlier instance with this name
        paths.directory.mkdir(mode=0o700, parents=True)
        write_json(str(paths.launch), self._order.launch.as_file())
        write_json(str(paths.spec), self._spec()._asdict())

    def _spec(self) -> Spec:
        order, paths, settings = self._order, self._order.paths, self._order.settings
        filled = {"{launch}": str(paths.launch), "{socket}": paths.socket}
        return Spec(
            instance=order.instance,
            digest=order.launch.digest(),
            nonce=secrets.token_hex(16),
            policy=settings.policy,
            adopt_timeout=settings.adopt_timeout,
            argv=[_fill(part, filled) for part in order.command.argv],
            env=engine_environment(os.environ, {**dict(order.command.env), **order.launch.env}, order.mark),
            grace=order.command.stop_grace,
            directory=str(paths.directory),
            log=str(paths.log),
            log_max_bytes=settings.log_max_bytes,
            log_keep=settings.log_keep,
            socket=paths.socket,
            control=paths.control,
        )

    def _spawn_shim(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The shim's process and our end of the link: while we hold it, the shim knows that we live."""
        ours, theirs = socket.socketpair()
        try:
            with theirs, open(self._order.paths.shim_log, "ab", opener=_private) as errors:
                shim = subprocess.Popen(
                    [self._order.settings.python, "-I", "-S", _SHIM, str(self._order.paths.spec)],
                    stdin=theirs.fileno(),
                    stdout=errors,
                    stderr=errors,
                    env={MARK: self._order.mark},
                    cwd="/",
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
        return shim, ours

    async def _converse(self, link: socket.socket) -> dict[str, Any] | None:
        """Listen to the shim until it is gone; returns its record of the end, if it could give one."""
        reader, self._link = await asyncio.open_connection(sock=link)
        self._pass_on()
        record = None
        try:
            async for message in _messages(reader):
                match message:
                    case {"event": "spawned", "engine": {"pid": int(pid)}}:
                        self._spawned(pid)
                    case {"event": "exited"}:
                        record = message
        finally:
            self._link.transport.abort()
            self._link = None
        return record

    def _pass_on(self) -> None:
        if self._link is not None and self._stop is not None:
            self._link.write(json.dumps(self._stop).encode() + b"\n")

    def _spawned(self, pid: int) -> None:
        order = self._order
        self._report(Spawned(order.instance, pid))
        if self._stop is None:
            watch = Watch(order.instance, order.paths.socket, order.launch.uid, order.settings, self._report)
            self._watch = asyncio.create_task(watch.run(order.command.health, order.command.probe))

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    async def _bury(self, code: int | None) -> dict[str, Any]:
        """The shim died without a word: end what it left, and say so."""
        await asyncio.to_thread(sweep, f"{self._order.mark}\0", (self._order.paths.directory,))
        words = await asyncio.to_thread(tail, str(self._order.paths.shim_log), 1)
        sentence = f"The engine's shim ended with {_status(code)}"
        return {"sentence": ": ".join([sentence, *words])}

    def _exit(self, record: dict[str, Any]) -> Exit:
        paths = self._order.paths
        with contextlib.suppress(OSError):  # their directory was cleaned away: the end is to be told all the same
            for path in paths.all_sockets():
                forget(str(path))
        return Exit(
            code=record.get("code"),
            signal=record.get("signal"),
            out_of_memory=record.get("out_of_memory", False),
            sentence=record.get("sentence", ""),
            log_tail=tuple(tail(str(paths.log), _TAIL_LINES, _TAIL_BYTES)),
        )


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """What the shim says, until it is gone."""
    try:
        async for line in reader:
            yield json.loads(line)
    except (ConnectionError, ValueError):
        return  # killed in the middle of a word


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _fill(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


def _about(error: Exception) -> str:
    """The file that an error is about, if it is about one."""
    name = error.filename if isinstance(error, OSError) else None
    return f"{name}: " if name else ""


def _status(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

"""One engine's process tree, from its first process to its last.

The daemon starts one shim per replica. The shim makes itself the reaper of everything below it, starts the
engine, and waits for four things: the daemon's end of its standard input, the engine's exit, its control
socket, and SIGTERM. It leaves only when no process of the tree is left, and its last act is to say how the
tree ended: to the daemon, and in `exit.json` for a daemon that comes later.

A stop is SIGTERM to the engine's group, a grace, then SIGKILL to the whole tree: descendants that made
sessions of their own or lost their parents are still below the reaper. The tree is killed after every exit
of the engine, wanted or not, because engines strand their workers.

When the daemon is gone, the policy `stop` stops the tree; `keep` lets it serve on until another daemon
adopts it through the control socket, or none has come in time.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Any

from xserve.runtime.records import explain, forget, write_json
from xserve.runtime.shim.engine import oom_kills, ran_out_of_memory, spawn
from xserve.runtime.shim.links import HangupError, Link, listen
from xserve.runtime.shim.logfile import RotatingLog
from xserve.runtime.shim.output import Output
from xserve.runtime.shim.reaper import Reaper
from xserve.runtime.shim.spec import Spec, read_spec
from xserve.runtime.tree import boot_id, start_time

_LONGEST_WAIT = 3600.0  # seconds; more than some weeks are beyond what the kernel can wait
_ORPHAN_GRACE = 1.0  # seconds at most: with the daemon gone there is no client left to serve to the end


def main(path: str) -> None:
    """Run the spec in the file to its end."""
    Supervisor(read_spec(path)).run()


class Supervisor:
    """The state of one tree. Everything happens in `run`; the handlers only note what they saw."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.umask = os.umask(0o077)
        self.selector = selectors.DefaultSelector()
        self.log = RotatingLog(spec.log, spec.log_max_bytes, spec.log_keep)
        self.output = Output(self.log)
        self.reaper = Reaper()
        self.owner: Link | None = None  # the daemon
        self.engine: subprocess.Popen[bytes] | None = None
        self.stop_asked = False
        self.killed = False  # by us
        self.grace = math.inf  # the shortest that was asked for, seconds
        self.kill_at = math.inf  # monotonic seconds
        self.adopt_by = math.inf
        self.reason = "by itself"
        self.sentence = ""
        self.started = time.time()
        self.oom_kills = oom_kills()

    def run(self) -> None:
        """Start the engine, wait for its end, leave nothing behind."""
        try:
            self._begin()
            self._wait()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.reason = "not started" if self.engine is None else "lost"
            self.sentence = self.sentence or f"cannot supervise from {self.spec.directory}: {explain(error)}"
        finally:
            self._note_dead(self.reaper.extinguish())
        self._end()

    # Beginning

    def _begin(self) -> None:
        self._watch(self.reaper.wakeup, self._on_signal)
        self._watch_link(Link(socket.socket(fileno=0), trusted=True))
        write_json(self.spec.record("intent.json"), self._intent())
        forget(self.spec.socket)  # one that no process listens on would keep the engine from binding
        listener = listen(self.spec.control)
        self._watch(listener, lambda: self._on_caller(listener))
        self._spawn()
        write_json(self.spec.record("fact.json"), self._fact())
        self._tell({"event": "spawned", **self._fact()})

    def _intent(self) -> dict[str, object]:
        spec = self.spec
        return {
            "instance": spec.instance,
            "digest": spec.digest,
            "nonce": spec.nonce,
            "policy": spec.policy,
            "boot": boot_id(),
        }

    def _fact(self) -> dict[str, object]:
        engine = self._engine_pid()
        return {
            "boot": boot_id(),
            "shim": {"pid": os.getpid(), "start": start_time(os.getpid())},
            "engine": {"pid": engine, "start": start_time(engine)},
        }

    def _engine_pid(self) -> int:
        return 0 if self.engine is None else self.engine.pid

    def _spawn(self) -> None:
        try:
            self.engine = spawn(self.spec, self.output.write_end, self.umask)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.sentence = f"cannot start {self.spec.argv[0]}: {explain(error)}"
            raise
        finally:
            self.output.given_away()
        self._watch(self.output.read_end, self._on_output)

    def _watch(self, source: int | socket.socket, handler: Callable[[], None]) -> None:
        self.selector.register(source, selectors.EVENT_READ, handler)

    # Waiting

    def _wait(self) -> None:
        while self.engine is not None and self.engine.returncode is None:
            soonest = min(self.kill_at, self.adopt_by)
            timeout = None if soonest == math.inf else min(max(0.0, soonest - time.monotonic()), _LONGEST_WAIT)
            for key, _ in self.selector.select(timeout):
                key.data()
            self._keep_deadlines()

    def _keep_deadlines(self) -> None:
        now = time.monotonic()
        if now >= self.kill_at:
            self.kill(f"It had not left {self.grace:g} s after SIGTERM and was killed.")
        if now >= self.adopt_by:
            self.adopt_by = math.inf
            self.stop("not adopted", min(self.spec.grace, _ORPHAN_GRACE))

    def stop(self, reason: str, grace: float) -> None:
        """SIGTERM now, SIGKILL after the grace (seconds). Asked again, the shorter grace holds."""
        if not self.stop_asked:
            self.stop_asked = True
            self.reason = reason
            self._signal_group(signal.SIGTERM)
            self._signal_group(signal.SIGCONT)  # a stopped process would not see the other one
        self.grace = min(self.grace, grace)
        self.kill_at = min(self.kill_at, time.monotonic() + grace)

    def kill(self, sentence: str) -> None:
        """SIGKILL to the whole tree."""
        self.kill_at = math.inf
        if not self.killed:
            self.sentence = sentence
        self.killed = True
        self.reaper.kill()

    def _signal_group(self, number: int) -> None:
        # A number of 0 would be our own group. A child that is not reaped keeps its number.
        if self.engine is not None and self.engine.returncode is None:
            with contextlib.suppress(OSError):
                os.killpg(self.engine.pid, number)

    # What happens

    def _on_signal(self) -> None:
        numbers = self.reaper.heard()
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.stop("shim was told to leave", self.spec.grace)
        self._note_dead(self.reaper.bury())

    def _note_dead(self, dead: Iterable[tuple[int, int]]) -> None:
        with contextlib.suppress(ChildProcessError):  # none left
            for pid, code in dead:
                if self.engine is not None and pid == self.engine.pid:
                    self.engine.returncode = code

    def _on_output(self) -> None:
        if not self.output.move():
            self.selector.unregister(self.output.read_end)

    def _on_caller(self, listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        self._watch_link(Link(peer, trusted=False))

    def _watch_link(self, link: Link) -> None:
        if link.trusted:
            self.owner = link
        self._watch(link.peer, lambda: self._on_link(link))

    def _on_link(self, link: Link) -> None:
        try:
            for request in link.requests():
                self._answer(link, request)
        except (
            HangupError,
            TypeError,
            ValueError,
            OverflowError,
        ):  # a figure that is none ends the talk, not the engine
            self.selector.unregister(link.peer)
            link.peer.close()
            if link is self.owner:
                self._orphaned()

    def _orphaned(self) -> None:
        self.owner = None
        if self.spec.policy == "stop":
            self.stop("daemon gone", min(self.spec.grace, _ORPHAN_GRACE))
        else:
            self.adopt_by = time.monotonic() + self.spec.adopt_timeout

    def _answer(self, link: Link, request: dict[str, Any]) -> None:
        if not link.trusted and request.get("nonce") != self.spec.nonce:
            link.send({"error": "wrong nonce"})
            raise HangupError
        match request.get("do"):
            case "status":
                link.send(self._status())
            case "stop":
                self.stop("asked", float(request.get("grace", self.spec.grace)))
                link.send(self._status())
            case "kill":
                self.stop("asked", 0.0)
                self.kill("")
                link.send(self._status())
            case "adopt":
                self._adopt(link)
            case other:
                link.send({"error": f"unknown request {other!r}"})

    def _adopt(self, link: Link) -> None:
        """The peer is the daemon from now on: its link's end means what the first daemon's end meant."""
        link.trusted = True
        self.owner = link
        self.adopt_by = math.inf
        link.send(self._status())

    def _status(self) -> dict[str, object]:
        return {"instance": self.spec.instance, "state": self._state(), "policy": self.spec.policy, **self._fact()}

    def _state(self) -> str:
        if self.stop_asked:
            return "stopping"
        return "running" if self.adopt_by == math.inf else "orphaned"

    # Ending

    def _end(self) -> None:
        self.output.drain()
        record = self._exit_record()
        with contextlib.suppress(OSError):  # a full disk: the daemon is told all the same
            write_json(self.spec.record("exit.json"), record)
        for path in (self.spec.socket, self.spec.control):
            forget(path)
        self._tell({"event": "exited", **record})

    def _exit_record(self) -> dict[str, object]:
        code = None if self.engine is None else self.engine.returncode
        number = -code if code is not None and code < 0 else None
        return {
            "code": None if number else code,
            "signal": number,
            "out_of_memory": ran_out_of_memory(number, by_us=self.killed, kills_before=self.oom_kills),
            "reason": self.reason,
            "sentence": self.sentence,
            "started": self.started,  # seconds since 1970
            "ended": time.time(),
            "log_bytes": self.log.written,
        }

    def _tell(self, message: dict[str, object]) -> None:
        if self.owner is not None:
            self.owner.send(message)

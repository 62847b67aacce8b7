"""When to look at the files: at a file event after a moment of quiet, at what a look left open, and now and then.

Events only mean "look again", and where to look first: a glance at what they name goes before the look at
everything, which always follows. With watching off everything still happens, later.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence

from xserve.core.desired import Desired
from xserve.core.text import counted
from xserve.core.views import Candidate
from xserve.daemon.eventlog import EventLog
from xserve.daemon.tasks import Tasks
from xserve.daemon.world import Sight, World

_log = logging.getLogger(__name__)
_QUIET = 0.015  # seconds without an event before a look
_MOST_HINTS = 64  # beyond that a look at everything is as quick
_PATIENCE = 0.5  # seconds after the first event that a look is put off at most
_SPREAD = 0.1  # of the resync interval: several daemons on one file system do not look in step


class Looker:
    """Owns the looks: one at a time, each in a thread, its result given to the loop."""

    def __init__(
        self,
        world: World,
        follow: Callable[[Desired], None],
        events: EventLog,
        resync: float,
        rearm: Callable[[], None],
    ) -> None:
        self._world = world
        self._follow = follow  # what is wanted from now on
        self._events = events
        self._resync = resync
        self._rearm = rearm  # watch what is there now
        self._lock = asyncio.Lock()
        self._tasks = Tasks()
        self._woken = asyncio.Event()
        self._hints: set[str] = set()
        self._problems: set[str] = set()

    def wake(self, paths: Collection[str] = ()) -> None:
        """Something may have changed, perhaps at these paths. On the event loop's thread."""
        self._hints.update(paths)
        self._woken.set()

    async def look(self, reload: bool = False) -> bool:
        """Look now, and let the loop follow; whether the files say something new.

        A look that runs already may have passed over what the caller wrote, so a new one is made after it. It is made
        to its end although the caller may go away: its thread would go on, beside that of the next look.
        """
        return await self._tasks.finish(self._look(reload), "look")

    async def _look(self, reload: bool) -> bool:
        async with self._lock:
            sight = await asyncio.to_thread(self._observe, reload)
            self._tell(sight)
            self._follow(sight.desired)
            return sight.changed

    def _observe(self, reload: bool) -> Sight:
        """In a thread. Watches are set before the look: what changes after it is not missed."""
        self._rearm()
        return self._world.observe(reload=reload)

    async def peek(self, candidates: Sequence[Candidate]) -> Sight:
        """What a look would find now, with the candidates in place; the loop is not told."""
        return await self._tasks.finish(self._peek(candidates), "peek")

    async def _peek(self, candidates: Sequence[Candidate]) -> Sight:
        async with self._lock:
            return await asyncio.to_thread(self._world.peek, candidates)

    async def run(self) -> None:
        """Look whenever there is reason to, for ever."""
        while True:
            await self._reason()
            await self._guarded(self._tasks.finish(self._glance(), "glance"))
            await self._guarded(self.look())

    async def _guarded(self, work: Awaitable[object]) -> None:
        """A fault of ours in one look must not end all looking."""
        try:
            await work
        except Exception:
            _log.exception("a look at the files failed")

    async def _glance(self) -> None:
        """Tell the loop of a plain change before the look at everything, which may take a while."""
        paths, self._hints = self._hints, set()
        if not 0 < len(paths) <= _MOST_HINTS:
            return
        async with self._lock:
            sight = await asyncio.to_thread(self._world.glance, paths)
            if sight is not None:
                self._tell(sight)
                self._follow(sight.desired)

    async def _reason(self) -> None:
        pause = self._resync * (1 + random.uniform(-_SPREAD, _SPREAD))  # noqa: S311 - not a secret
        again_in = self._world.sight.again_in
        try:
            async with asyncio.timeout(pause if again_in is None else min(pause, again_in)):
                await self._woken.wait()
                await self._quiet()
        except TimeoutError:
            pass
        self._woken.clear()

    async def _quiet(self) -> None:
        """Until no event came for a moment, or events came for too long."""
        clock = asyncio.get_running_loop().time
        latest = clock() + _PATIENCE
        while self._woken.is_set() and clock() < latest:
            self._woken.clear()
            await asyncio.sleep(_QUIET)

    def _tell(self, sight: Sight) -> None:
        """New problems are events; so are those that are gone."""
        if not sight.changed and {str(each) for each in sight.problems} == self._problems:
            return
        if sight.changed:
            definitions = counted(len(sight.registrations), "definition")
            entries = counted(len(sight.orders), "deploy entry", "deploy entries")
            self._events.add("files", f"in force: {definitions}, {entries}")
        now = {str(each): each for each in sight.problems}
        for text, problem in now.items():
            if text not in self._problems:
                self._events.add(
                    "problem", text, reason=problem.severity, data={"path": problem.path, "line": problem.line}
                )
        for text in self._problems - set(now):
            self._events.add("files", f"no longer a problem: {text}")
        self._problems = set(now)

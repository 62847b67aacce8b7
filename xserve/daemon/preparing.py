"""Makes the environments that deployments wait for, one after the other, beside whatever runs.

One that is no longer wanted when its turn comes is left out; one that is being made is made to its end, as an entry
that is edited may want it again a moment later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from xserve.core.desired import Desired
from xserve.core.environment import Environment
from xserve.daemon.eventlog import EventLog
from xserve.daemon.tasks import Tasks
from xserve.runtime.environments import Environments, MakingFailedError

_log = logging.getLogger(__name__)


class Preparer:
    """Follows what is desired. On the event loop's thread."""

    def __init__(self, environments: Environments, events: EventLog, wake: Callable[[], None]) -> None:
        """`wake`: look again, an environment is further, whole, or failed."""
        self.environments = environments
        self.events = events
        self.wake = wake
        self._tasks = Tasks()
        self._turn = asyncio.Lock()  # uv uses the whole network by itself
        self._wanted: frozenset[Environment] = frozenset()

    def follow(self, desired: Desired) -> None:
        """Begin to make what waiting deployments need."""
        self._wanted = frozenset(each.needs for each in desired.waiting.values() if each.needs is not None)
        for waiting in desired.waiting.values():
            if waiting.needs is not None and self.environments.due(waiting.needs):
                self.environments.begin(waiting.needs)
                self._tasks.keep(self._make(waiting.needs), f"environment {waiting.needs.name}")

    async def _make(self, environment: Environment) -> None:
        async with self._turn:
            if environment in self._wanted:
                await self._make_now(environment)
            else:
                self.environments.leave(environment)

    async def _make_now(self, environment: Environment) -> None:
        thread = asyncio.get_running_loop()

        def tell(words: str) -> None:
            thread.call_soon_threadsafe(self._tell, environment, words)

        try:
            await asyncio.to_thread(self.environments.make, environment, tell)
            self._tell(environment, "it is made")
        except MakingFailedError as error:
            if not isinstance(error.__cause__, MakingFailedError | OSError):
                _log.error("making %s", environment.name, exc_info=error.__cause__)  # a fault of ours
            self._tell(environment, f"it cannot be made: {error}", kind="problem")

    def _tell(self, environment: Environment, words: str, kind: str = "environment") -> None:
        data = {"engine": environment.engine, "environment": environment.name}
        self.events.add(kind, f"environment of {environment.engine}: {words}", data=data)
        self.wake()

    def close(self) -> None:
        """End what is being made: it is begun anew by the next daemon."""
        self.environments.close()

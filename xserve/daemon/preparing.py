"""Makes the environments that deployments wait for, one after the other, beside whatever runs."""

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

    def follow(self, desired: Desired) -> None:
        """Begin to make what waiting deployments need."""
        for waiting in desired.waiting.values():
            if waiting.needs is not None and self.environments.due(waiting.needs):
                self.environments.begin(waiting.needs)
                self._tasks.keep(self._make(waiting.needs), f"environment {waiting.needs.name}")

    async def _make(self, environment: Environment) -> None:
        thread = asyncio.get_running_loop()

        def tell(words: str) -> None:
            thread.call_soon_threadsafe(self._tell, environment, words)

        async with self._turn:
            try:
                await asyncio.to_thread(self.environments.make, environment, tell)
                self._tell(environment, "it is made")
            except MakingFailedError as error:
                self._tell(environment, f"it cannot be made: {error}", kind="problem")
            except Exception:
                _log.exception("making %s", environment.name)
        self.wake()

    def _tell(self, environment: Environment, words: str, kind: str = "environment") -> None:
        data = {"engine": environment.engine, "environment": environment.name}
        self.events.add(kind, f"environment of {environment.engine}: {words}", data=data)
        self.wake()

    def close(self) -> None:
        """End what is being made: it is begun anew by the next daemon."""
        self.environments.close()

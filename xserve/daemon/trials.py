"""Launches over the API are on trial until they were ready once.

One that fails is taken back: its deploy entry goes, an error stays visible for a while, and the same name can
be launched again. One that was ready is an ordinary deployment from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xserve.core.desired import Desired
from xserve.core.observed import Observed, ready
from xserve.core.reasons import Reason
from xserve.core.refused import Kind, Refused
from xserve.core.views import FailureView, ModelView

KEPT_SECONDS = 600.0
"""How long the error of a failed launch is shown."""

_PATIENT = {Reason.NO_GPU, Reason.PREPARING}  # waiting that may end by itself


@dataclass(frozen=True, slots=True)
class FailedLaunch:
    """What is shown of it."""

    uid: str
    reason: str
    sentence: str
    log_tail: tuple[str, ...]
    at: float  # monotonic seconds

    def view(self, now: float) -> ModelView:
        """As a deployment that failed."""
        failure = FailureView(
            reason=self.reason,
            message=self.sentence,
            failures=1,
            seconds_ago=round(now - self.at, 3),
            retry_in=None,
            log_tail=list(self.log_tail),
        )
        return ModelView(
            uid=self.uid, state="failed", reason=self.reason, message=f"its launch failed: {self.sentence}",
            model="", model_type="", engine="", aliases=[], request_limit=None, replicas=0, ready=0, revision="",
            running=[], generation="", definition_path="", deploy_path="", stale=False, layer="", instances=[],
            failure=failure,
        )  # fmt: skip

    def refusal(self) -> Refused:
        """The answer to whoever waits for it."""
        tail = "\n".join(self.log_tail[-5:])
        return Refused(Kind.FAILED, f"cannot launch {self.uid}: {self.sentence}" + (f"\n{tail}" if tail else ""))


class Trials:
    """Which launches are on trial, and which failed lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._running: set[str] = set()
        self._failed: dict[str, FailedLaunch] = {}

    def begin(self, uid: str) -> None:
        """A launch begins; an older failure under this name is forgotten."""
        self._running.add(uid)
        self._failed.pop(uid, None)

    def end(self, uid: str) -> None:
        """It is over, for better or worse."""
        self._running.discard(uid)

    def running(self, uid: str) -> bool:
        """Whether it is on trial."""
        return uid in self._running

    def fail(self, failed: FailedLaunch) -> None:
        """Remember why it failed."""
        self._failed[failed.uid] = failed

    def failed(self) -> list[FailedLaunch]:
        """The failures of the last minutes."""
        limit = self._clock() - KEPT_SECONDS
        self._failed = {uid: each for uid, each in self._failed.items() if each.at >= limit}
        return list(self._failed.values())

    def verdict(self, uid: str, desired: Desired, observed: Observed) -> FailedLaunch | bool:
        """True: it was ready. False: not known yet. Else why it failed."""
        if ready(observed.of(uid)):
            return True
        waiting = desired.waiting.get(uid)
        if waiting is not None and waiting.reason not in _PATIENT:
            return FailedLaunch(uid, waiting.reason, waiting.sentence, (), self._clock())
        wanted = desired.deployments.get(uid)
        record = observed.records.get((uid, wanted.revision)) if wanted else None
        if record is not None:
            return FailedLaunch(uid, record.reason, record.sentence, record.exit.log_tail, self._clock())
        return wanted is not None and wanted.replicas == 0

"""`plan` without a daemon: what one would do that starts now."""

from __future__ import annotations

from collections.abc import Sequence

from xserve.core.forecast import forecast
from xserve.core.observed import Observed
from xserve.core.reconcile import Policy
from xserve.core.status import action_views, problem_view, waiting_views
from xserve.core.views import Candidate, PlanView
from xserve.daemon.offline import Offline
from xserve.placement.first_fit import first_fit


def plan_offline(config: str | None, candidates: Sequence[Candidate]) -> PlanView:
    """The plan for the files of a configuration, with the candidates in place."""
    files = Offline.open(config)
    sight = files.world.peek(candidates)
    known = files.settings
    policy = Policy(known.start_timeout, known.drain_timeout, known.max_starting)
    coming = forecast(sight.desired, Observed(), 0.0, first_fit, policy)
    problems = [*([] if candidates else files.missing()), *files.problems, *sight.problems]
    return PlanView(
        actions=action_views(coming.actions),
        waiting=waiting_views(coming.explanations),
        problems=[problem_view(problem) for problem in problems],
    )

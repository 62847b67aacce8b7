"""When is waiting over: a pure verdict on what people see, and the loop that asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from xserve.core.reasons import Reason
from xserve.core.views import ModelView, ProblemView, WaitView

_OVER = {"ready", "disabled"}
# Waiting that another file may end by itself: configuration managers copy one file after the other.
_PATIENT = {Reason.NO_DEFINITION, Reason.NO_WEIGHTS, Reason.NO_GPU}


@dataclass(frozen=True, slots=True)
class Shown:
    """What people see while they wait."""

    models: list[ModelView]
    problems: list[ProblemView]
    pending: bool  # some file is not read to its end yet: what it says may still come


def verdict(shown: Shown, names: Sequence[str], generation: str | None) -> WaitView | None:
    """The outcome, or None while it is open. Without names every deployment counts, and every rejected file."""
    if shown.pending:
        return None
    models, problems = shown.models, shown.problems
    chosen = [each for each in models if (each.uid in names if names else not _taken_back(each))]
    unknown = [name for name in names if all(each.uid != name for each in models)]
    if unknown:
        return _view("failed", f"no deployment is called {unknown[0]!r}", chosen, problems)
    rejected = [each for each in problems if each.severity == "error" and (not names or _concerns(each, chosen))]
    if rejected:
        return _view("rejected", rejected[0].text, chosen, rejected)
    for each in chosen:
        if each.state == "failed" or (each.state == "waiting" and each.reason not in _PATIENT):
            return _view("failed", f"{each.uid}: {each.message}", chosen, problems)
    if all(each.state in _OVER and each.generation.startswith(generation or "") for each in chosen):
        return _view("done", _ready_words(chosen), chosen, problems)
    return None


async def wait_for(
    look: Callable[[], Shown],
    changed: Callable[[], Awaitable[None]],
    names: Sequence[str],
    generation: str | None,
    timeout: float,
) -> WaitView:
    """Until there is a verdict, or `timeout` seconds went by."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                found = verdict(look(), names, generation)
                if found is not None:
                    return found
                await changed()
    except TimeoutError:
        shown = look()
        late = [each for each in shown.models if (not names or each.uid in names) and each.state not in _OVER]
        words = "; ".join(f"{each.uid}: {each.message}" for each in late) or "the generation is not in force"
        return _view("timeout", f"not ready after {timeout:g} s: {words}", late, shown.problems)


def _taken_back(model: ModelView) -> bool:
    """Whether it is but the memory of a launch that failed: nobody wants it any more."""
    return model.state == "failed" and not model.deploy_path


def _concerns(problem: ProblemView, models: Sequence[ModelView]) -> bool:
    return any(problem.path in {each.definition_path, each.deploy_path} for each in models)


def _ready_words(models: Sequence[ModelView]) -> str:
    return "nothing is deployed" if not models else ", ".join(each.uid for each in models) + ": ready"


def _view(outcome: str, message: str, models: Sequence[ModelView], problems: Sequence[ProblemView]) -> WaitView:
    return WaitView(outcome=outcome, message=message, models=list(models), problems=list(problems))

"""Painting a plan: calls of the pipeline, batch by batch, in the one thread that the model works in.

The pipeline calls back after each step; that is where progress is told and where a departed client's picture ends.
The share that is done counts decoding as one step more. Between batches another request may have its turn, so each
begins with a scheduler and adapters of its own.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from loading import adapter_name
from peft.tuners.tuners_utils import BaseTunerLayer
from pictures import Picture, keep_unmasked
from planning import Plan
from xserve_engine.wire import HttpError

Report = Callable[[float], None]  # told the share that is done; raises to end the work


def paint(plan: Plan, report: Report) -> Generator[list[Picture], None, None]:
    """The pictures of the plan, in the order of its seeds, a batch at a time.

    A batch for which the card has no room is halved. Raises `HttpError` 400 for what the pipeline refuses and for
    a single picture that is too large, and whatever `report` raises.
    """
    done, batch, count = 0, plan.batch, len(plan.seeds)
    while done < count:
        seeds = plan.seeds[done : done + batch]
        try:
            drawn = _paint_batch(plan, seeds, _part(report, done, len(seeds), count))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            batch = len(seeds) // 2
            if not batch:
                raise HttpError(400, "There is no memory for a picture of this size; ask for a smaller one.") from None
            continue
        done += len(seeds)
        yield _finish(plan, drawn)


def _part(report: Report, before: int, now: int, count: int) -> Report:
    """Tells of all pictures what a batch tells of its own."""
    return lambda share: report((before + share * now) / count)


def _paint_batch(plan: Plan, seeds: Sequence[int], report: Report) -> list[Picture]:
    pipeline = plan.pipeline
    select_adapter(pipeline, plan.adapter)
    if plan.scheduler:
        pipeline.scheduler = plan.scheduler()
    report(0)
    try:
        with torch.inference_mode():
            return list(pipeline(**plan.arguments, **_of_batch(pipeline, seeds, report)).images)
    except ValueError as error:  # what the pipeline says of arguments that do not go together
        raise HttpError(400, f"{type(pipeline).__name__} refuses this: {str(error).rstrip('.')}.") from error
    finally:
        with contextlib.suppress(AttributeError):  # no method of every pipeline
            pipeline.maybe_free_model_hooks()  # gives a card's memory back also where the work was ended half-way


def _of_batch(pipeline: Any, seeds: Sequence[int], report: Report) -> dict[str, Any]:
    """Those arguments of the call that are a batch's own."""
    taken = inspect.signature(pipeline.__call__).parameters
    chances = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]  # the same on every device
    arguments: dict[str, Any] = {"generator": chances if len(seeds) > 1 else chances[0]}
    if "num_images_per_prompt" in taken:
        arguments["num_images_per_prompt"] = len(seeds)
    if "callback_on_step_end" in taken:
        arguments["callback_on_step_end"] = _listener(report)
    return arguments


def _listener(report: Report) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def listen(pipeline: Any, index: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps = max(getattr(pipeline, "num_timesteps", 0), index + 1)
        report((index + 1) / (steps + 1))
        return tensors

    return listen


def select_adapter(pipeline: Any, number: int | None) -> None:
    """Put the LoRA adapter of that number into force in every layer that has it, and no other; None: none at all."""
    name = None if number is None else adapter_name(number)
    for part in pipeline.components.values():
        for layer in part.modules() if isinstance(part, torch.nn.Module) else ():
            if isinstance(layer, BaseTunerLayer):
                has_it = name in layer.scaling
                layer.enable_adapters(has_it)
                if has_it:
                    layer.set_adapter(name)


def _finish(plan: Plan, drawn: list[Picture]) -> list[Picture]:
    if plan.original and plan.mask:
        drawn = keep_unmasked(drawn, plan.original, plan.mask)
    if plan.crop:
        drawn = [picture.crop((0, 0, *plan.crop)) for picture in drawn]
    return drawn

"""Runs the engine's own painting where memory is scarce: `python scarce.py WEIGHTS COUNT ROOM ...`.

The pipeline is played: it has room for ROOM pictures at once, and says so as torch does. Prints for each ROOM the
sizes of the batches that were tried, and the pictures, which are the seeds of their chances.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
from painting import paint
from planning import Plan
from xserve_engine.wire import HttpError


class Played:
    """A pipeline that draws nothing but numbers."""

    components: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def __call__(self, prompt: str, generator: Any, num_images_per_prompt: int) -> SimpleNamespace:
        self.tried.append(num_images_per_prompt)
        if num_images_per_prompt > self.room:
            raise torch.OutOfMemoryError("no room")
        chances = generator if isinstance(generator, list) else [generator]
        return SimpleNamespace(images=[chance.initial_seed() for chance in chances])


def attempt(count: int, room: int) -> dict[str, Any]:
    """Paint that many pictures, in batches of four at first."""
    pipeline, drawn, refusal = Played(room), [], ""
    plan = Plan(pipeline, {"prompt": "a"}, tuple(range(count)), batch=4, scheduler=None, adapter=None)
    try:
        for batch in paint(plan, lambda _: None):
            drawn += batch
    except HttpError as error:
        refusal = str(error)
    return {"tried": pipeline.tried, "drawn": drawn, "refusal": refusal}


if __name__ == "__main__":
    count, *rooms = map(int, sys.argv[2:])
    print(json.dumps([attempt(count, room) for room in rooms]))

"""Three requests share a step, and one of them fails: `python failing_row.py KIT ENGINE`, by the engine's interpreter.

Prints JSON: the likeliest token of each row after the step, and what is raised of the failed request's output.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

sys.path += sys.argv[1:3]

import torch
from batching import Rows, _fresh
from sampling import Row, Sampling
from xserve_engine.wire import HttpError


class Broken:
    """A constraint that cannot go on."""

    def mask(self, row: Any) -> None:
        raise ValueError("the grammar is stuck")

    def accept(self, token_id: int) -> None:
        """Nothing: it never comes to that."""


def main() -> None:
    """Make the step."""
    greedy = Sampling(temperature=0)
    failing = Row([1], greedy, "cpu", Broken())
    biased = Row([1], Sampling(temperature=0, bias={3: 50.0}), "cpu")
    rows = Rows()
    names = ("plain", "failing", "biased")
    rows.under_way = dict(zip(names, (Row([1], greedy, "cpu"), failing, biased), strict=True))
    batch = [
        SimpleNamespace(state=SimpleNamespace(request_id=name), has_new_token=True, query_length=1) for name in names
    ]
    rows.prepare_tensor_args(batch, torch.empty(0))
    logits = torch.tensor([[0.0, 0.0, 1.0, 0.0]] * 4)  # and a row of padding
    chosen = rows(torch.empty(0), logits, torch.empty(0)).argmax(-1).tolist()
    output = SimpleNamespace(error=None, generated_tokens=[0], is_finished=lambda: False)
    try:
        told = str(_fresh(output, failing, 0))
    except HttpError as error:
        told = f"{error.status}: {error}"
    print(json.dumps({"chosen": chosen, "told": told}))


if __name__ == "__main__":
    main()

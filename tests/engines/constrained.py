"""Draws answers under JSON schemas from a model that knows nothing: `python constrained.py ENGINE MODEL`.

Run with the interpreter of the engine transformers. The logits are random, so that only the constraint keeps an answer
in shape. Reads a JSON list of schemas (null: any object) from standard input and prints one line of JSON for each:
`{"text"}`, or `{"refused"}` with the reason.
"""

from __future__ import annotations

import json
import sys
from typing import Any

sys.path.append(sys.argv[1])

import torch
from grammar import compile_schema
from transformers import AutoTokenizer

MOST = 400  # tokens


def draw(schema: Any, tokenizer: Any, size: int, seed: int) -> str:
    """An answer of at most `MOST` tokens, drawn at random from what the schema allows."""
    constraint = compile_schema(schema, tokenizer, size)
    numbers = torch.Generator().manual_seed(seed)
    # What ends a string, an object or a list, or the answer, is likely: chance alone would go on and on.
    closing = [*tokenizer.convert_tokens_to_ids(list('"]}')), tokenizer.eos_token_id]
    drawn: list[int] = []
    while not constraint.done and len(drawn) < MOST:
        row = torch.randn(size, generator=numbers)
        row[closing] += 9.0
        constraint.mask(row)
        token = int(row.argmax())
        constraint.accept(token)
        if token == tokenizer.eos_token_id:
            break
        drawn.append(token)
    return str(tokenizer.decode(drawn))


def main() -> None:
    """Answer every schema."""
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
    size = len(tokenizer) + 64  # logits often have places to which no token belongs
    for seed, schema in enumerate(json.load(sys.stdin)):
        try:
            print(json.dumps({"text": draw(schema, tokenizer, size, seed)}))
        except ValueError as error:
            print(json.dumps({"refused": str(error)}))


if __name__ == "__main__":
    main()

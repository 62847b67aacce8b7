"""Turns tokens into text as the engine transformers does: `python wording.py KIT ENGINE MODEL`, by its interpreter.

Reads a JSON list of cases from standard input: `text`, whose tokens are the answer, or `tokens` themselves; `before`, a
text whose tokens come before it; `cut`, how many tokens are missing at the end of each; `stops`. Prints a JSON list:
the `pieces` that were shown, the ids that were `told`, the `ids` of the answer, and what the library makes of them
all at once, `whole`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

sys.path += sys.argv[1:3]

from batching import Token
from transformers import AutoTokenizer
from words import Words


def say(tokenizer: Any, case: dict[str, Any]) -> dict[str, Any]:
    """The answer of one case, token by token."""
    before, ids = (_ids(tokenizer, case, name) for name in ("before", "text"))
    words = Words(tokenizer, before, case.get("stops", ()), skip_special=True)
    shown = []
    for token in ids:
        shown.append(words.feed(Token(token, None, last=False)))
        if words.stopped:
            break
    shown.append(words.finish())
    return {
        "pieces": [said.text for said in shown],
        "told": [token.id for said in shown for token in said.tokens],
        "ids": ids,
        "whole": tokenizer.decode(ids, skip_special_tokens=True),
    }


def _ids(tokenizer: Any, case: dict[str, Any], name: str) -> list[int]:
    if name == "text" and "tokens" in case:
        return list(case["tokens"])
    ids = tokenizer.encode(case.get(name, ""), add_special_tokens=False)
    return list(ids[: len(ids) - case.get("cut", {}).get(name, 0)])


def main() -> None:
    """Answer every case."""
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[3])
    print(json.dumps([say(tokenizer, case) for case in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()

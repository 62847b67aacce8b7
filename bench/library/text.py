"""Transformers' continuous batching used directly: `python text.py WEIGHTS OPTIONS`.

OPTIONS (JSON) are those of the engine, so that the cache and the steps have the same sizes. All requests of a call are
decoded together and end with the same step, so there are always as many under way as are asked for. Items are tokens.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from transformers import (  # noqa: TID251 - a process of its own
    AutoModelForCausalLM,
    AutoTokenizer,
    ContinuousBatchingConfig,
    GenerationConfig,
)
from turns import Compute, answer

PATIENCE = 120.0  # seconds


def text(weights: str, options: dict[str, Any]) -> Compute:
    tokenizer = AutoTokenizer.from_pretrained(weights)
    model = AutoModelForCausalLM.from_pretrained(weights, dtype="auto").eval()
    sizes = ContinuousBatchingConfig(
        page_size=options["page_size"],
        num_blocks=options["num_blocks"],
        max_batch_tokens=options["max_batch_tokens"],
        max_requests_per_batch=options["max_requests"],
        use_cuda_graph=False,
    )
    greedy = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)
    manager = model.init_continuous_batching(greedy, sizes)
    manager.start()

    def compute(requests: list[Any]) -> int:
        for request in requests:
            prompt = tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True)["input_ids"]
            manager.add_request(prompt, max_new_tokens=request["max_tokens"])
        answers = [manager.get_result(timeout=PATIENCE).generated_tokens for _ in requests]
        for tokens in answers:
            tokenizer.decode(tokens, skip_special_tokens=True)
        return sum(map(len, answers))

    return compute


if __name__ == "__main__":
    answer(text(sys.argv[1], json.loads(sys.argv[2])))

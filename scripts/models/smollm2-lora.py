# environment: none
"""A LoRA adapter of SmolLM2-135M, as a folder in PEFT's layout and in it `adapter.gguf`, the same for llama.cpp.

    python smollm2-lora.py OUT SITE_PACKAGES

Self-made of seeded random numbers: it makes the model talk nonsense, always the same. That shows whether an adapter
is in force, and nothing about adapters. It changes only matrices that have the same layout in both formats.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from bert_to_gguf import FLOAT32, STRING, Tensor, layout

LAYERS, WIDTH, INNER = 30, 576, 1536
RANK, ALPHA, SPREAD = 4, 4.0, 0.2


def matrices() -> Iterator[tuple[int, str, Tensor]]:
    """Layer, side (A or B) and numbers of each matrix: the second linear layer of each block's network."""
    numbers = random.Random(0)
    for layer in range(LAYERS):
        for side, shape in (("A", (RANK, INNER)), ("B", (WIDTH, RANK))):
            size = shape[0] * shape[1]
            data = struct.pack(f"<{size}f", *(numbers.gauss(0, SPREAD) for _ in range(size)))
            yield layer, side, Tensor("", shape, data)


def write_peft(out: Path) -> None:
    """The adapter in PEFT's layout: a configuration and the matrices as safetensors."""
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "SmolLM2-135M-Instruct",
        "target_modules": ["down_proj"],
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
    }
    (out / "adapter_config.json").write_text(json.dumps(config))
    head: dict[str, dict[str, object]] = {}
    data = b""
    for layer, side, one in matrices():
        name = f"base_model.model.model.layers.{layer}.mlp.down_proj.lora_{side}.weight"
        place = [len(data), len(data) + len(one.data)]
        head[name] = {"dtype": "F32", "shape": one.shape, "data_offsets": place}
        data += one.data
    text = json.dumps(head).encode()
    (out / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_gguf(out: Path) -> None:
    """The same for llama.cpp."""
    pairs = [
        ("general.architecture", STRING, "llama"),
        ("general.type", STRING, "adapter"),
        ("adapter.type", STRING, "lora"),
        ("adapter.lora.alpha", FLOAT32, ALPHA),
    ]
    tensors = [
        Tensor(f"blk.{layer}.ffn_down.weight.lora_{side.lower()}", one.shape, one.data)
        for layer, side, one in matrices()
    ]
    with out.open("wb") as file:
        for piece in layout(pairs, tensors):
            file.write(piece)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    write_peft(folder)
    write_gguf(folder / "adapter.gguf")

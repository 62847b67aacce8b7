"""Write a BERT encoder in Hugging Face's layout as GGUF: the small real embedding model of the tests.

    python scripts/bert_to_gguf.py FOLDER OUT.gguf [--rank]

Standard library only: the numbers are copied as they are, 32-bit floats. GGUF counts dimensions from the other
end, which is the same order in memory. With `--rank` the result is a cross-encoder: the folder's own pooler and
behind it the folder's own head. Where there is none it gets one of seeded random numbers, whose scores mean
nothing; it is there to prove the path of a ranking.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
REST = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "pooler.dense": "cls",
    "classifier": "cls.output",
}
ALIGNMENT = 32  # bytes; GGUF's default
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
FORMATS = {UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}
MEAN, RANK = 1, 4  # kinds of pooling
NORMAL, CONTROL = 1, 3  # kinds of tokens


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of 32-bit floats; the shape as Hugging Face counts it."""

    name: str
    shape: tuple[int, ...]
    data: bytes


def convert(folder: Path, out: Path, *, rank: bool = False) -> Path:
    """Write the model in `folder` to `out`, whole or not at all."""
    config = json.loads((folder / "config.json").read_text())
    tensors = list(read_tensors(folder / "model.safetensors", head=rank))
    if rank and not any(tensor.name.startswith("cls.output") for tensor in tensors):
        tensors += random_head(config["hidden_size"])
    pairs = [*architecture(config, folder.name, rank), *vocabulary(folder)]
    part = out.with_suffix(".part")
    with part.open("wb") as file:
        for piece in layout(pairs, tensors):
            file.write(piece)
    os.replace(part, out)
    return out


def read_tensors(path: Path, *, head: bool) -> Iterator[Tensor]:
    """The tensors of a safetensors file, under llama.cpp's names."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (size,) = struct.unpack_from("<Q", data)
        for name, entry in json.loads(data[8 : 8 + size]).items():
            new = rename(name)
            if new is None or (new.startswith("cls.") and not head):
                continue
            if entry["dtype"] != "F32":
                raise SystemExit(f"{name} is {entry['dtype']}, and only F32 is copied.")
            start, end = (8 + size + offset for offset in entry["data_offsets"])
            yield Tensor(new, tuple(entry["shape"]), data[start:end])


def rename(name: str) -> str | None:
    """llama.cpp's name of a tensor; None for what is no weight."""
    module, _, kind = name.removeprefix("bert.").rpartition(".")
    if module in REST:
        return f"{REST[module]}.{kind}"
    if not module.startswith("encoder.layer."):
        return None
    _, _, number, rest = module.split(".", 3)
    return f"blk.{number}.{LAYER[rest]}.{kind}"


def random_head(width: int) -> list[Tensor]:
    """One output of random weights, the same each time; about one in size for a pooler's output."""
    chance = random.Random(0)
    weights = [chance.gauss(0, 3 / width**0.5) for _ in range(width)]
    return [
        Tensor("cls.output.weight", (1, width), struct.pack(f"<{width}f", *weights)),
        Tensor("cls.output.bias", (1,), struct.pack("<f", 0.0)),
    ]


def architecture(config: dict[str, Any], name: str, rank: bool) -> Iterator[tuple[str, int, Any]]:
    """Key, kind and value of what describes the network."""
    yield "general.architecture", STRING, "bert"
    yield "general.name", STRING, name
    for key, field in (
        ("block_count", "num_hidden_layers"),
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
    ):
        yield f"bert.{key}", UINT32, config[field]
    yield "bert.attention.layer_norm_epsilon", FLOAT32, config["layer_norm_eps"]
    yield "bert.attention.causal", BOOL, False
    yield "bert.pooling_type", UINT32, RANK if rank else MEAN
    if rank:
        yield "bert.classifier.output_labels", STRING, ["relevance"]


def vocabulary(folder: Path) -> Iterator[tuple[str, int, Any]]:
    """Key, kind and value of what describes the tokens: `##ing` continues a word, others begin one."""
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    tokens = tokens[:-1] if tokens[-1] == "" else tokens
    special = {name: tokens.index(f"[{name}]") for name in ("CLS", "SEP", "UNK", "PAD", "MASK")}
    ids = set(special.values())
    yield "tokenizer.ggml.model", STRING, "bert"
    yield "tokenizer.ggml.pre", STRING, "jina-v2-en"
    yield (
        "tokenizer.ggml.tokens",
        STRING,
        [
            token if index in ids else token[2:] if token.startswith("##") else f"\u2581{token}"
            for index, token in enumerate(tokens)
        ],
    )
    yield "tokenizer.ggml.token_type", INT32, [CONTROL if i in ids else NORMAL for i in range(len(tokens))]
    yield "tokenizer.ggml.token_type_count", UINT32, 2
    for key, name in (
        ("bos", "CLS"),
        ("eos", "SEP"),
        ("seperator", "SEP"),  # sic
        ("unknown", "UNK"),
        ("padding", "PAD"),
        ("mask", "MASK"),
    ):
        yield f"tokenizer.ggml.{key}_token_id", UINT32, special[name]
    yield "tokenizer.ggml.add_bos_token", BOOL, True
    yield "tokenizer.ggml.add_eos_token", BOOL, True
    yield "tokenizer.ggml.add_sep_token", BOOL, False  # else a pair has two between its texts; it was trained with one


def layout(pairs: list[tuple[str, int, Any]], tensors: list[Tensor]) -> Iterator[bytes]:
    """The bytes of the file."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(text(key) + value(kind, content) for key, kind, content in pairs)
    offset = 0
    for tensor in tensors:
        shape = tensor.shape[::-1]
        head += text(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, offset)  # type 0: 32-bit floats
        offset += len(tensor.data) + padding(len(tensor.data))
    yield head + bytes(padding(len(head)))
    for tensor in tensors:
        yield tensor.data + bytes(padding(len(tensor.data)))


def text(content: str) -> bytes:
    """A string: its length, its bytes."""
    data = content.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind: int, content: Any) -> bytes:
    """A value with its kind; a list is an array of that kind."""
    if isinstance(content, list):
        return struct.pack("<IIQ", ARRAY, kind, len(content)) + b"".join(item(kind, one) for one in content)
    return struct.pack("<I", kind) + item(kind, content)


def item(kind: int, content: Any) -> bytes:
    """A value without its kind."""
    return text(content) if kind == STRING else struct.pack(FORMATS[kind], content)


def padding(size: int) -> int:
    """Bytes to the next multiple of the alignment."""
    return -size % ALIGNMENT


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rank", action="store_true", help="make a cross-encoder")
    arguments = parser.parse_args()
    print(convert(arguments.folder, arguments.out, rank=arguments.rank))

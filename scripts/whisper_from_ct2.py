"""Turns a Whisper model in CTranslate2's layout into a folder of transformers: the same numbers under other names.

Packages hold Whisper only as CTranslate2 files. `model.bin` is a head (version, name, revision, count), then named
arrays (name, rank, shape, type, bytes), then aliases; strings carry their length and end in zero. The attention's
query, key and value matrices lie in one array there, the cross-attention's key and value in another.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)  # in the file's numbering
Arrays = dict[str, np.ndarray]
ENGLISH_ONLY = 51_864  # words that an English-only model knows; the others know one more for each language
HEAD = 64  # width of every Whisper's attention heads
PAIRS = (  # of a layer's parts: CTranslate2's name, transformers' name and the names that its rows are divided into
    ("self_attention/linear_0", "self_attn.", ("q_proj", "k_proj", "v_proj")),
    ("self_attention/linear_1", "self_attn.out_proj", ("",)),
    ("attention/linear_0", "encoder_attn.q_proj", ("",)),
    ("attention/linear_1", "encoder_attn.", ("k_proj", "v_proj")),
    ("attention/linear_2", "encoder_attn.out_proj", ("",)),
    ("ffn/linear_0", "fc1", ("",)),
    ("ffn/linear_1", "fc2", ("",)),
)
NORMS = (
    ("self_attention/layer_norm", "self_attn_layer_norm"),
    ("attention/layer_norm", "encoder_attn_layer_norm"),
    ("ffn/layer_norm", "final_layer_norm"),
)


def convert(source: Path, out: Path) -> None:
    """Write the folder `out` from the folder `source`."""
    with (source / "model.bin").open("rb") as file:
        weights = dict(_renamed(_read(file)))
    declared = json.loads((source / "config.json").read_text())
    tokenizer = WhisperTokenizer.from_pretrained(source)
    model = WhisperForConditionalGeneration(_config(weights))
    missing, unexpected = model.load_state_dict(
        {name: torch.tensor(array.astype(np.float32)) for name, array in weights.items()}, strict=False
    )
    if unexpected or set(missing) - {"proj_out.weight"}:
        raise SystemExit(f"The layout is not understood: {missing} are missing, {unexpected} are too many.")
    model.tie_weights()
    model.generation_config = _generation(declared, tokenizer, model.config)
    model.save_pretrained(out)
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    WhisperProcessor(extractor, tokenizer).save_pretrained(out)


def _read(file: BinaryIO) -> Arrays:
    """The arrays of a `model.bin`, by name. Ends the program for another kind of model."""

    def number(kind: str) -> int:
        return int(struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0])

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    version, name, _revision = number("I"), text(), number("I")
    if version < 5 or name != "WhisperSpec":
        raise SystemExit(f"This is no Whisper model of CTranslate2: {name}, version {version}.")
    arrays: Arrays = {}
    for _ in range(number("I")):
        key, rank = text(), number("B")
        shape = [number("I") for _ in range(rank)]
        kind = TYPES[number("B")]
        arrays[key] = np.frombuffer(file.read(number("I")), kind).reshape(shape)
    for _ in range(number("I")):
        alias, key = text(), text()
        arrays[alias] = arrays[key]
    return arrays


def _renamed(arrays: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    yield "model.decoder.embed_tokens.weight", _plain(arrays, "decoder/embeddings")
    for number in (1, 2):
        yield f"model.encoder.conv{number}.weight", _plain(arrays, f"encoder/conv{number}")
        yield f"model.encoder.conv{number}.bias", arrays[f"encoder/conv{number}/bias"]
    for side in ("encoder", "decoder"):
        yield f"model.{side}.embed_positions.weight", arrays[f"{side}/position_encodings/encodings"]
        yield from _norm(arrays, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(_depth(arrays, side)):
            yield from _layer(arrays, f"{side}/layer_{layer}", f"model.{side}.layers.{layer}")


def _depth(arrays: Arrays, side: str) -> int:
    return len({name.split("/")[1] for name in arrays if name.startswith(f"{side}/layer_") and name.count("/") > 2})


def _layer(arrays: Arrays, old: str, new: str) -> Iterator[tuple[str, np.ndarray]]:
    for ours, theirs in NORMS:
        if f"{old}/{ours}/gamma" in arrays:  # encoders have no cross-attention
            yield from _norm(arrays, f"{old}/{ours}", f"{new}.{theirs}")
    for ours, theirs, parts in PAIRS:
        if f"{old}/{ours}/weight" in arrays:
            yield from _linear(arrays, f"{old}/{ours}", f"{new}.{theirs}", parts)


def _norm(arrays: Arrays, old: str, new: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{new}.weight", arrays[f"{old}/gamma"]
    yield f"{new}.bias", arrays[f"{old}/beta"]


def _linear(arrays: Arrays, old: str, new: str, parts: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    weights = np.split(_plain(arrays, old), len(parts))
    biases = np.split(arrays[f"{old}/bias"], len(parts))
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        yield f"{new}{part}.weight", weight
        if part != "k_proj":  # Whisper's key has none; CTranslate2 fills in zeros
            yield f"{new}{part}.bias", bias


def _plain(arrays: Arrays, name: str) -> np.ndarray:
    """A matrix as numbers: int8 ones come with one scale a row."""
    weight = arrays[f"{name}/weight"]
    if weight.dtype == np.int8:
        return weight.astype(np.float32) / arrays[f"{name}/weight_scale"].reshape(-1, 1)
    return weight


def _config(weights: Arrays) -> WhisperConfig:
    """The model's shape, read off its weights."""
    words, width = weights["model.decoder.embed_tokens.weight"].shape
    end = 50_256 + (words > ENGLISH_ONLY)
    depth = {
        side: len({name.split(".")[3] for name in weights if name.startswith(f"model.{side}.layers.")})
        for side in ("encoder", "decoder")
    }
    return WhisperConfig(
        vocab_size=words,
        d_model=width,
        num_mel_bins=weights["model.encoder.conv1.weight"].shape[1],
        **{f"{side}_layers": layers for side, layers in depth.items()},
        **{f"{side}_attention_heads": width // HEAD for side in depth},
        **{f"{side}_ffn_dim": width * 4 for side in depth},
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
        decoder_start_token_id=end + 1,
    )


def _generation(declared: Mapping[str, Any], tokenizer: WhisperTokenizer, config: WhisperConfig) -> GenerationConfig:
    """What transformers has to know to transcribe: which words are commands, and which are never said."""
    multilingual = config.vocab_size > ENGLISH_ONLY
    settings: dict[str, Any] = {
        **{name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
        "decoder_start_token_id": config.decoder_start_token_id,
        "max_length": 448,
        "suppress_tokens": declared["suppress_ids"],
        "begin_suppress_tokens": declared["suppress_ids_begin"],
        "alignment_heads": declared["alignment_heads"],
        "is_multilingual": multilingual,
        "return_timestamps": False,
        "no_timestamps_token_id": tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
        "prev_sot_token_id": tokenizer.convert_tokens_to_ids("<|startofprev|>"),
        "max_initial_timestamp_index": 50,
    }
    if multilingual:
        tasks = ("transcribe", "translate")
        settings["lang_to_id"] = {tokenizer.convert_ids_to_tokens(one): one for one in declared["lang_ids"]}
        settings["task_to_id"] = {task: tokenizer.convert_tokens_to_ids(f"<|{task}|>") for task in tasks}
        settings["task"] = "transcribe"  # for callers that name none
    return GenerationConfig(**settings)

"""What the folder of weights says about itself, read without loading any library.

Looked at before vLLM starts, because loading takes long and a fault found then is told in the words of a program.
Whether the numbers make sense as a model is left to vLLM.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xserve_engine.launch import BAD_WEIGHTS, Refusal, Start, require_weights

CONFIG, TOKENIZER = "config.json", "tokenizer_config.json"
SENTENCES = "sentence_bert_config.json"  # sentence-transformers' own limit on a text
TEMPLATES = ("chat_template.jinja", "chat_template.json")
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt")
# Where model configurations write the tokens that they were trained for; the smallest counts.
LENGTHS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_sequence_length", "max_seq_length", "seq_len"),
)
UNSCALED = {None, "default", "llama3", "yarn", "longrope", "su"}  # rotary schemes whose stated length is the full one
NO_LIMIT = 10**9  # tokenizers without a limit state an astronomic one


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of the weights before they are loaded."""

    path: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    length: int | None = None  # most tokens of a request; None: not known
    chat_template: str = ""  # "": they bring none, or one for each purpose
    templated: bool = False  # whether they bring any

    @property
    def architectures(self) -> tuple[str, ...]:
        """Class names of the model, as transformers writes them."""
        return tuple(self.config.get("architectures") or ())

    @property
    def quantised(self) -> bool:
        """Whether the weights say how they were quantised."""
        return bool(self._text_config().get("quantization_config") or self.config.get("quantization_config"))

    @property
    def perceives(self) -> bool:
        """Whether the model takes pictures or sounds, which may not be cut into steps."""
        return any(name in self.config for name in ("vision_config", "audio_config"))

    def cache_per_token(self, width: int) -> int:
        """Bytes that attention keeps per token with numbers of `width` bytes; 0 where the shape is not known."""
        text = self._text_config()
        heads = text.get("num_attention_heads") or 0
        size = text.get("head_dim") or (text.get("hidden_size", 0) // heads if heads else 0)
        kept = text.get("num_key_value_heads") or heads
        return int(2 * text.get("num_hidden_layers", 0) * kept * size * width)  # keys and values

    def _text_config(self) -> Mapping[str, Any]:
        nested = self.config.get("text_config")
        return nested if isinstance(nested, dict) else self.config


def look_at_weights(start: Start) -> Weights:
    """Look at the weights. Raises `Refusal` where they are not there, not a model's folder, or cut short."""
    path = require_weights(start)
    if not path.is_dir():
        raise Refusal(BAD_WEIGHTS, f"The weights must be a directory with {CONFIG}, and this is a file: {path}.")
    config = _read(path / CONFIG)
    if not config:
        raise Refusal(BAD_WEIGHTS, f"The weights have no {CONFIG}: {path}.")
    _check_files(path)
    tokenizer = _read(path / TOKENIZER)
    template = _template(path, tokenizer)
    return Weights(path, config, _length(path, config, tokenizer), template or "", template is not None)


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file. Refuses one that is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Refusal(BAD_WEIGHTS, f"The file {path} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise Refusal(BAD_WEIGHTS, f"The file {path} must hold a JSON object.")
    return content


def _template(path: Path, tokenizer: Mapping[str, Any]) -> str | None:
    """The chat template that the weights bring, None for none."""
    plain, wrapped = (path / name for name in TEMPLATES)
    if plain.is_file():
        return plain.read_text(encoding="utf-8", errors="replace")
    template = _read(wrapped).get("chat_template") or tokenizer.get("chat_template")
    return template if isinstance(template, str) or template is None else ""


def _length(path: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int | None:
    """The most tokens that the weights were made for, None where they do not say or scale their positions."""
    if limit := _read(path / SENTENCES).get("max_seq_length"):
        return int(limit)
    text = config.get("text_config") or config
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if scaling.get("rope_type", scaling.get("type")) not in UNSCALED:
        return None
    stated = [text.get(name) for name in LENGTHS] + [tokenizer.get("model_max_length")]
    return min((int(value) for value in stated if value and value < NO_LIMIT), default=None)


def _check_files(path: Path) -> None:
    files = [file for pattern in WEIGHT_FILES for file in path.glob(pattern)]
    if not files:
        raise Refusal(BAD_WEIGHTS, f"There is no file of weights ({', '.join(WEIGHT_FILES)}) in {path}.")
    for file in files:
        if file.suffix == ".safetensors" and file.stat().st_size < _promised(file):
            raise Refusal(BAD_WEIGHTS, f"The file is damaged or incomplete: {file}.")


def _promised(file: Path) -> int:
    """Bytes that a safetensors file must have according to its header, which begins with its own length."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        head = opened.read(length) if 0 < length < os.fstat(opened.fileno()).st_size else b""
    try:
        return 8 + length + max(_ends(json.loads(head)), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refusal(BAD_WEIGHTS, f"The file is damaged or incomplete: {file}.") from None


def _ends(header: Mapping[str, Any]) -> Iterator[int]:
    return (int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__")

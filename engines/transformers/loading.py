"""The model, its tokenizer and what it brings along, loaded from a folder and never from a hub.

What a quantised model needs (a library, a card) is checked by transformers itself as it begins to load; what it
says is passed on as the reason why this engine can never start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from settings import Settings, request_length
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, NO_BACKEND, Refusal
from xserve_engine.wire import HttpError


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model with what belongs to it."""

    network: Any  # PreTrainedModel
    tokenizer: Any
    processor: Any  # of pictures; None: the model sees none
    length: int  # tokens that one request may use
    vocabulary: int  # rows of the logits
    ends: frozenset[int]  # token ids that end every answer

    def look(self, prompt: str, pictures: Sequence[Any]) -> Mapping[str, Any]:
        """The network's inputs for a prompt with pictures. Raises `HttpError` 400 where their numbers differ."""
        try:
            read = self.processor(text=[prompt], images=list(pictures), add_special_tokens=False, return_tensors="pt")
        except ValueError as error:
            raise HttpError(400, f"The pictures do not fit the messages: {error}") from error
        return dict(read.to(self.network.device, dtype=self.network.dtype))


def load(settings: Settings) -> Model:
    """Load everything. Raises `Refusal` for weights that cannot work here."""
    try:
        return _load(settings)
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"This model needs a package that is not installed: {_line(error)}") from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise Refusal(BAD_WEIGHTS, f"The weights in {settings.weights} cannot be loaded: {_line(error)}") from error


def _load(settings: Settings) -> Model:
    common = {"trust_remote_code": settings.remote_code, "local_files_only": True}
    config = AutoConfig.from_pretrained(settings.weights, **common)
    tokenizer = AutoTokenizer.from_pretrained(settings.weights, **common)
    if not tokenizer.is_fast:
        raise Refusal(BAD_WEIGHTS, f"The tokenizer of {settings.weights} has no form that can be read token by token.")
    device = choose_device(settings)
    _check_card(config, device)
    sees = "vision" in settings.abilities
    kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    network = kind.from_pretrained(settings.weights, device_map={"": device}, **_choices(settings), **common)
    text = config.get_text_config()
    return Model(
        network=network.eval(),
        tokenizer=tokenizer,
        processor=AutoProcessor.from_pretrained(settings.weights, **common) if sees else None,
        length=request_length(settings, getattr(text, "max_position_embeddings", None)),
        vocabulary=network.get_output_embeddings().weight.shape[0],
        ends=find_ends(network, tokenizer),
    )


def choose_device(settings: Settings) -> str:
    """Where the model is computed. Refuses a card that is not there."""
    wanted = str(settings.options["device"])
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise Refusal(BAD_OPTION, f"The option device is {wanted}, but torch sees no card here.")
    return wanted


def _check_card(config: Any, device: str) -> None:
    """Refuse FP8 weights without a card: transformers would unpack them, or fail at the first request."""
    described = getattr(config, "quantization_config", None) or {}
    method = described.get("quant_method") if isinstance(described, dict) else described.quant_method
    if method in ("fp8", "fbgemm_fp8") and device == "cpu":
        raise Refusal(NO_BACKEND, "FP8 weights need an NVIDIA card of compute capability 8.9 or later.")


def _choices(settings: Settings) -> dict[str, Any]:
    """Arguments of from_pretrained that the settings decide."""
    options = settings.options
    chosen: dict[str, Any] = {"dtype": options["dtype"]}
    if options["attn_implementation"]:
        chosen["attn_implementation"] = options["attn_implementation"]
    if settings.quantization in ("4-bit", "8-bit"):
        from transformers import BitsAndBytesConfig

        bits = {"load_in_4bit" if settings.quantization == "4-bit" else "load_in_8bit": True}
        chosen["quantization_config"] = BitsAndBytesConfig(**bits)
    return chosen


def find_ends(network: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end an answer, from the generation settings beside the weights and from the tokenizer."""
    declared = network.generation_config.eos_token_id
    ids = declared if isinstance(declared, list) else [declared]
    return frozenset(token for token in (*ids, tokenizer.eos_token_id) if token is not None)


def _line(error: Exception) -> str:
    """The first line of what the library says."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

"""Models are loaded by the library; what it cannot load is told as a sentence.

An input may have as many tokens as the least of what the definition (`max_tokens`), the model's own settings and
its position embeddings say. The option `max_tokens` stands in for the first two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from sentence_transformers import CrossEncoder, SentenceTransformer
from settings import Settings
from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, NO_BACKEND, Refusal

UNLIMITED = 1_000_000  # tokens; libraries write larger numbers where they know of no limit
M = TypeVar("M")


def load_embedder(settings: Settings) -> SentenceTransformer:
    """The model that makes vectors."""
    if not (settings.weights / "modules.json").is_file():
        print("There is no modules.json: a text's vector is the mean of its tokens' vectors.", flush=True)
    return attempt(settings, lambda: SentenceTransformer(str(settings.weights), **arguments(settings)))


def load_cross_encoder(settings: Settings) -> CrossEncoder:
    """The model that scores pairs."""
    model = attempt(settings, lambda: CrossEncoder(str(settings.weights), **arguments(settings)))
    if model.num_labels != 1:
        raise Refusal(
            BAD_WEIGHTS, f"The model sorts pairs into {model.num_labels} classes; a reranker gives one number."
        )
    return model


def arguments(settings: Settings) -> dict[str, Any]:
    """What the library is told about loading."""
    return {
        "device": settings.options["device"],
        "trust_remote_code": settings.remote_code,
        "local_files_only": True,
        "model_kwargs": model_arguments(settings),
    }


def model_arguments(settings: Settings) -> dict[str, Any]:
    """What the library passes on to the network."""
    chosen = {"dtype": settings.options["dtype"], "attn_implementation": settings.options["attn_implementation"]}
    return {name: value for name, value in chosen.items() if value is not None}


def attempt(settings: Settings, load: Callable[[], M]) -> M:
    """What `load` returns; refuses what can never be loaded. Out of memory is an ordinary crash."""
    keep_to(settings.gpu_memory)
    try:
        return load()
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"A library that this model needs is not installed: {error}.") from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise Refusal(
                BAD_WEIGHTS,
                f"The model {settings.weights} brings code of its own, which may run only where allow_remote_code in "
                "xserve.yaml names the model.",
            ) from error
        raise Refusal(BAD_WEIGHTS, f"The model in {settings.weights} cannot be loaded: {first_line(error)}") from error


def keep_to(memory: int | float | None) -> None:
    """Bound what is taken of a card: bytes, or a share of it up to 1."""
    if memory is None or not torch.cuda.is_available():
        return
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, memory / whole if memory > 1 else float(memory)))


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def limit_tokens(model: Any, settings: Settings) -> int:
    """Tokens of one input; the library is told the same, so that it cuts there."""
    positions = most_positions(model)
    asked = settings.options["max_tokens"]
    if asked and asked > positions:
        raise Refusal(BAD_OPTION, f"The option max_tokens is {asked}, and the model has {positions} positions.")
    said = [asked] if asked else [settings.definition.get("max_tokens"), model.max_seq_length]
    limit = int(min([positions, *filter(None, said)]))
    model.max_seq_length = limit
    return limit


def most_positions(model: Any) -> int:
    """How long an input the network itself can take."""
    config = model.config
    positions = getattr(config, "max_position_embeddings", None) or UNLIMITED
    if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet"):
        positions -= config.pad_token_id + 1  # these count positions from behind the padding's
    return int(positions)

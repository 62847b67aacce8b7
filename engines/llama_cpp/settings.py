"""What llama.cpp is to be run with: the definition, the options and the file's header, put together.

How much context a request gets is the choice that matters. `n_ctx` is what one request may use; left out, it
is the definition's length, or the file's if that is less, but no more than 32,768 tokens for text and 2,048
for embedding and ranking, because memory grows with it (for a 7B model with grouped heads 32,768 tokens are
about 2 to 4 GiB). All slots share one cache of that size, so a lone request may be as long as promised, and
many short ones fit beside each other; `kv_unified: false` gives every slot a cache of its own instead.

How much of a prompt is read in one step bounds how soon a departed client is noticed and how long other
streams pause, since llama.cpp looks up only between steps. On processors a small step is as fast as a large
one (SmolLM2, one thread: 107 tokens/s by 2,048, 131 by 128), so it is 128 there and llama.cpp's 2,048 with a card.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from header import Header, read_header
from stops import Stops, gather
from thoughts import teach
from xserve_engine.launch import (
    BAD_DEFINITION,
    BAD_OPTION,
    BAD_WEIGHTS,
    NO_WEIGHTS,
    Refusal,
    Start,
    refuse_unknown,
    require_weights,
)

MOST_TEXT = 32_768  # tokens of a request, unless n_ctx says more
MOST_POOLED = 2_048
STEP_OF_PROCESSOR, STEP_OF_CARD = 128, 2_048  # tokens of prompts read in one step
UBATCH = 512
POOLINGS = ("none", "mean", "cls", "last", "rank")  # in llama.cpp's numbering

# Every option and its default. None: worked out here, or left to llama.cpp.
DEFAULTS: dict[str, Any] = {
    "backend": None,
    "n_ctx": None,
    "n_parallel": 4,
    "kv_unified": True,
    "n_threads": None,
    "n_batch": None,
    "n_ubatch": UBATCH,
    "n_gpu_layers": -1,
    "main_gpu": 0,
    "split_mode": "layer",
    "tensor_split": (),
    "flash_attn": "auto",
    "cache_type_k": "f16",
    "cache_type_v": "f16",
    "cache_ram_mib": 1024,
    "load_mode": "auto",
    "mmproj": None,
    "lora": (),
    "seed": -1,
    "rope_freq_base": 0.0,
    "rope_freq_scale": 0.0,
    "reasoning_format": "deepseek",
    "reasoning_budget": -1,
    "enable_thinking": None,
    "chat_template_kwargs": {},
    "pooling": None,
    "normalize": True,
    "warmup": True,
}


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter, and its weight in requests that select none."""

    path: str
    scale: float


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a backend needs to know. Lengths in tokens."""

    uid: str
    socket: str
    model_type: str
    weights: Path
    header: Header
    context: int  # what one request may use, its answer included
    cache: int  # of all slots together
    shared: bool  # whether they share it
    batch: int
    ubatch: int
    threads: int
    template: str  # "": the file's own
    variables: Mapping[str, Any]  # of the template, where a request says nothing
    stops: Stops
    lora: tuple[Adapter, ...]
    pooling: str | None  # None: the file's own
    options: Mapping[str, Any]  # all of `DEFAULTS`, with what the user chose

    @property
    def caching(self) -> bool:
        """Whether prompts may be cached: not where requests select adapters.

        llama.cpp takes what one adapter has read for what another, or none, would have; its issue 26207.
        """
        return all(adapter.scale for adapter in self.lora)

    @property
    def probable(self) -> bool:
        """Whether ranking scores come out as probabilities already: the Qwen3 family ends in a softmax."""
        return self.header.architecture in ("qwen3", "qwen3vl")


def settle(start: Start) -> Settings:
    """The settings of this start. Raises `Refusal` with a sentence for what can never work."""
    refuse_unknown(start.options, DEFAULTS)
    options = {**DEFAULTS, **start.options}
    header = read_header(require_weights(start))
    _check_kind(start, header)
    adapters = _adapters(start, options)
    _check_files(options, adapters)
    context = _context(start, header, options)
    pooled = start.model_type != "LLM"
    shared = options["kv_unified"] and not pooled
    batch = options["n_batch"] or _step(options)
    # A pooled text longer than a batch is answered with 500, one that is only longer than the context with 400.
    batch = max(batch, context, MOST_POOLED) if pooled else batch
    return Settings(
        uid=start.uid,
        socket=start.socket,
        model_type=start.model_type,
        weights=header.path,
        header=header,
        context=context,
        cache=context if shared else context * options["n_parallel"],
        shared=shared,
        batch=batch,
        # A pooled text cannot be cut: all of it goes through in one physical batch.
        ubatch=batch if pooled else min(options["n_ubatch"], batch),
        threads=options["n_threads"] or len(os.sched_getaffinity(0)),
        template=_template(start, header, options),
        variables=_variables(options),
        stops=gather(header, _strings(start), start.definition.get("stop_token_ids") or []),
        lora=adapters,
        pooling="rank" if start.model_type == "rerank" else options["pooling"],
        options=options,
    )


def _check_kind(start: Start, header: Header) -> None:
    if start.model_type == "LLM" and not header.causal:
        raise Refusal(
            BAD_WEIGHTS,
            f"The file holds an encoder ({header.architecture}), which cannot generate text: {header.path}.",
        )
    if start.model_type == "rerank" and not header.scores:
        raise Refusal(BAD_WEIGHTS, f"The file has no classification head, so it cannot rank: {header.path}.")


def _adapters(start: Start, options: Mapping[str, Any]) -> tuple[Adapter, ...]:
    """Those that requests select, by their place; behind them those that every other request gets."""
    selected = [Adapter(one["path"], 0.0) for one in start.lora]
    return (*selected, *(Adapter(one["path"], float(one.get("scale", 1.0))) for one in options["lora"]))


def _check_files(options: Mapping[str, Any], adapters: Sequence[Adapter]) -> None:
    """Refuse files that are named and not there, or not readable as GGUF."""
    named = [("projector", options["mmproj"])] + [("LoRA adapter", adapter.path) for adapter in adapters]
    for kind, path in named:
        if path is None:
            continue
        if not Path(path).is_file():
            raise Refusal(NO_WEIGHTS, f"The file of the {kind} is not there: {path}.")
        read_header(Path(path))


def _context(start: Start, header: Header, options: Mapping[str, Any]) -> int:
    asked, trained = options["n_ctx"], header.context_length
    if asked is not None:
        if asked < 1:
            raise Refusal(BAD_OPTION, f"The option n_ctx must be at least 1, not {asked}.")
        return int(asked)
    text = start.model_type == "LLM"
    declared = start.definition.get("context_length" if text else "max_tokens")
    most = MOST_TEXT if text else MOST_POOLED
    length = min(value for value in (declared, trained, most) if value)
    if declared and length < declared:
        print(f"Requests may use {length} of the {declared} tokens declared; n_ctx says otherwise.", flush=True)
    return int(length)


def _step(options: Mapping[str, Any]) -> int:
    """The step for this machine: a large one only if there is a card that may be used."""
    cards = Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return STEP_OF_CARD if cards and not hidden and options["n_gpu_layers"] != 0 else STEP_OF_PROCESSOR


def _template(start: Start, header: Header, options: Mapping[str, Any]) -> str:
    """The chat template if it is not just the file's. Refuses a chat model that has none."""
    if start.model_type != "LLM":
        return ""
    template = start.definition.get("chat_template") or ""
    chats = "chat" in (start.definition.get("model_ability") or ())
    if chats and not template and not header.chat_template:
        raise Refusal(
            BAD_DEFINITION,
            "The definition says that the model can chat, but neither it nor the file has a chat template.",
        )
    tags = [start.definition.get(f"reasoning_{side}_tag") or "" for side in ("start", "end")]
    known = template or header.chat_template
    return teach(known, *tags) if known and all(tags) and options["reasoning_format"] != "none" else str(template)


def _variables(options: Mapping[str, Any]) -> dict[str, Any]:
    """The template's variables; templates know the switch for thinking by two names."""
    switch = options["enable_thinking"]
    named = {} if switch is None else {"enable_thinking": switch, "thinking": switch}
    return {**named, **options["chat_template_kwargs"]}


def _strings(start: Start) -> list[str]:
    stop = start.definition.get("stop") or []
    return [stop] if isinstance(stop, str) else list(stop)

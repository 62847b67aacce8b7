"""The arguments of `vllm serve`, and the environment that goes with them.

Every flag is written as one word, `--name=value`, so that no value can be taken for a flag of its own.

Memory. On a card vLLM takes a share of it, for weights and cache together: what `gpu_memory` says, else 0.9. On a
processor the share would be one of all main memory, so the size of the cache is always given instead: what the
option `kv_cache_memory` says, else 1 GiB, or as much as one request of the full length needs where that is more.

On a processor the model is not compiled (`enforce_eager`): a compiler would have to be there, and a start would
take minutes. Prompts of a text model are read there in steps of 256 tokens: a departed client is only noticed between
steps, and one of vLLM's default size takes many seconds.

Pictures and sounds are read from the request only; vLLM would fetch any address in it, so the only
host that it may fetch from is one that cannot exist, unless the option names others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from machine import Machine
from settings import PLAIN, Settings
from xserve_engine.launch import BAD_OPTION, Refusal

HERE = Path(__file__).parent
GIB = 1024**3
SHARE = 0.9  # of a card
STEP = 256  # tokens of prompts read in one step on a processor
BLOCK = 128  # tokens: what vLLM rounds a request's cache up to on processors
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters, as vLLM provides for
NOWHERE = "nowhere.invalid"  # a name that is reserved for never being there
TAGS = "XSERVE_REASONING_TAGS"  # environment variable: the tags around thoughts, a JSON list of two
PARSER = "xserve_tags"  # the name under which `thoughts` registers itself


def arguments(settings: Settings, machine: Machine) -> list[str]:
    """The command line without the program's name. Raises `Refusal` for what can never work."""
    return [
        "serve",
        str(settings.weights.path),
        *_identity(settings),
        *_sizes(settings, machine),
        *(_pooling() if settings.pools else _text(settings)),
        *_adapters(settings),
        *_given(settings.options),
    ]


def environment(settings: Settings) -> dict[str, str]:
    """Variables for this process and those that it starts."""
    return {TAGS: json.dumps(settings.tags)} if settings.tags else {}


def flag(name: str, value: object) -> str:
    """One flag as one word."""
    name = "--" + name.lstrip("-").replace("_", "-")
    if isinstance(value, bool):
        return name if value else name.replace("--", "--no-", 1)
    return f"{name}={json.dumps(value) if isinstance(value, dict | list) else value}"


def _identity(settings: Settings) -> Iterator[str]:
    yield flag("uds", settings.socket)
    yield flag("served-model-name", settings.uid)
    yield flag("middleware", "wording.Wording")
    yield flag("disable-access-log-for-endpoints", "/health,/metrics")
    if settings.remote_code:
        yield flag("trust-remote-code", True)


def _sizes(settings: Settings, machine: Machine) -> Iterator[str]:
    if settings.length:
        yield flag("max-model-len", settings.length)
    if settings.gpus > 1 and not {"tensor_parallel_size", "pipeline_parallel_size"} & settings.options.keys():
        yield flag("tensor-parallel-size", settings.gpus)
    if settings.format in ("fp8", "bnb") and not settings.weights.quantised and "quantization" not in settings.options:
        yield flag("quantization", {"fp8": "fp8", "bnb": "bitsandbytes"}[settings.format])
    yield from _memory_of_card(settings, machine) if machine.card else _memory_of_processor(settings)


def _memory_of_card(settings: Settings, machine: Machine) -> Iterator[str]:
    if cache := settings.options.get("kv_cache_memory"):
        yield flag("kv-cache-memory-bytes", cache)
    share = settings.options.get("gpu_memory_utilization") or settings.gpu_memory or SHARE
    if isinstance(share, int) and share > 1:  # bytes
        if share > machine.memory:
            raise Refusal(
                BAD_OPTION, f"The field gpu_memory asks for {share} bytes of a card that has {machine.memory}."
            )
        share /= machine.memory
    yield flag("gpu-memory-utilization", f"{share:.4f}")


def _memory_of_processor(settings: Settings) -> Iterator[str]:
    if settings.gpu_memory is not None:
        print("There is no card: gpu_memory does not count; the option kv_cache_memory does.", flush=True)
    yield flag("kv-cache-memory-bytes", settings.options.get("kv_cache_memory") or _default_cache(settings))
    if "enforce_eager" not in settings.options:
        yield flag("enforce-eager", True)
    if settings.model_type == "LLM" and not settings.weights.perceives and not _steps(settings.options):
        yield flag("max-num-batched-tokens", STEP)
        yield flag("max-num-seqs", STEP)  # no more than tokens in a step


def _steps(options: Mapping[str, Any]) -> bool:
    """Whether the options say something about steps."""
    return bool({"max_num_batched_tokens", "max_num_seqs"} & options.keys())


def _default_cache(settings: Settings) -> int:
    """Bytes of cache on a processor."""
    width = 4 if settings.options.get("dtype") in ("float", "float32") else 2
    length = settings.length or settings.weights.length or 0
    return max(GIB, settings.weights.cache_per_token(width) * (length // BLOCK + 1) * BLOCK)


def _pooling() -> Iterator[str]:
    yield flag("runner", "pooling")


def _text(settings: Settings) -> Iterator[str]:
    if settings.chat_template:
        yield flag("chat-template", settings.chat_template_file)
    if settings.template_variables:
        yield flag("default-chat-template-kwargs", dict(settings.template_variables))
    if settings.tool_parser:
        yield flag("enable-auto-tool-choice", True)
        yield flag("tool-call-parser", settings.tool_parser)
    if settings.tags:
        yield flag("reasoning-parser-plugin", HERE / "thoughts.py")
        yield flag("reasoning-parser", PARSER)
    yield "--allowed-media-domains"
    yield from settings.options.get("allowed_media_domains") or [NOWHERE]


def _adapters(settings: Settings) -> Iterator[str]:
    if not settings.lora:
        return
    yield flag("enable-lora", True)
    if "max_lora_rank" not in settings.options:
        yield flag("max-lora-rank", _rank([path for _, path in settings.lora]))
    yield "--lora-modules"
    yield from (json.dumps({"name": name, "path": str(path)}) for name, path in settings.lora)


def _rank(adapters: list[Path]) -> int:
    """The smallest rank provided for that all adapters fit in."""
    most = max(int(json.loads((path / "adapter_config.json").read_text())["r"]) for path in adapters)
    fitting = [rank for rank in RANKS if rank >= most]
    if not fitting:
        raise Refusal(BAD_OPTION, f"An adapter has the rank {most}; vLLM serves ranks up to {RANKS[-1]}.")
    return fitting[0]


def _given(options: Mapping[str, Any]) -> Iterator[str]:
    yield from (flag(name, value) for name, value in options.items() if name in PLAIN)
    yield from (flag(name, value) for name, value in options.get("extra_args", {}).items())

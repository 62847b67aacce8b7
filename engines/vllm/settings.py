"""What vLLM is to be run with: the definition, the options and the weights, put together and checked.

How long a request may be: what the definition says, but never more than the weights were made for. Left out, vLLM
takes what the weights say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection import Weights
from tools import parser_of
from xserve_engine.launch import (
    BAD_DEFINITION,
    BAD_OPTION,
    BAD_WEIGHTS,
    NO_WEIGHTS,
    Refusal,
    Start,
    refuse_unknown,
)

# Options that are handed to vLLM under their own name.
PLAIN = frozenset(
    (
        *("max_num_seqs", "max_num_batched_tokens", "dtype", "quantization", "kv_cache_dtype", "seed"),
        *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "enable_expert_parallel"),
        *("enforce_eager", "enable_prefix_caching", "cpu_offload_gb", "block_size", "limit_mm_per_prompt"),
        *("hf_overrides", "generation_config", "override_generation_config", "speculative_config"),
        *("max_loras", "max_lora_rank", "chat_template_content_format", "reasoning_parser", "pooler_config"),
    )
)
# Options that this program acts on.
OWN = frozenset(
    (
        *("max_model_len", "gpu_memory_utilization", "kv_cache_memory", "tool_parser", "reasoning_content"),
        *("enable_thinking", "chat_template_kwargs", "allowed_media_domains", "extra_args"),
    )
)
# Flags that decide where the server listens, what it is called, or whose code it runs.
RESERVED = frozenset(
    (
        *("model", "model-tag", "served-model-name", "uds", "host", "port", "api-key", "config", "headless"),
        *("grpc", "grpc-port", "ssl-keyfile", "ssl-certfile", "root-path", "api-server-count", "chat-template"),
        *("trust-remote-code", "middleware", "tool-parser-plugin", "reasoning-parser-plugin", "tool-server"),
        *("worker-cls", "worker-extension-cls", "logits-processors", "scheduler-cls", "io-processor-plugin"),
        *(
            "hf-token",
            "allowed-local-media-path",
            "kv-transfer-config",
            "lora-modules",
            "enable-lora",
            "hf-config-path",
        ),
        *("trust-request-chat-template", "model-class-overrides", "ec-transfer-config", "omni", "runner"),
    )
)
QUANTISED = ("gptq", "awq", "fp4")  # formats that only weights prepared for them have


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the arguments are made of. Lengths in tokens."""

    uid: str
    socket: str
    folder: Path  # for files that vLLM is to read
    model_type: str
    weights: Weights
    format: str
    length: int | None  # most tokens of a request; None: as the weights say
    chat_template: str  # "": the weights' own
    tool_parser: str  # in vLLM's naming; "": none
    tags: tuple[str, str] | None  # around thoughts
    template_variables: Mapping[str, Any]
    lora: tuple[tuple[str, Path], ...]
    gpus: int
    gpu_memory: int | float | None
    remote_code: bool
    options: Mapping[str, Any]

    @property
    def pools(self) -> bool:
        """Whether the model makes vectors or scores, not text."""
        return self.model_type in ("embedding", "rerank")

    @property
    def chat_template_file(self) -> Path:
        """Where the definition's chat template is written for vLLM to read."""
        return self.folder / "chat_template.jinja"


def settle(start: Start, weights: Weights) -> Settings:
    """The settings of this start. Raises `Refusal` with a sentence for what can never work."""
    refuse_unknown(start.options, PLAIN | OWN)
    _check_flags(start.options.get("extra_args", {}))
    _check_format(start, weights)
    _check_head(start, weights)
    return Settings(
        uid=start.uid,
        socket=start.socket,
        folder=Path(start.folder),
        model_type=start.model_type,
        weights=weights,
        format=start.format,
        length=_length(start, weights),
        chat_template=_template(start, weights),
        tool_parser=_tool_parser(start, weights),
        tags=_tags(start),
        template_variables=_variables(start.options),
        lora=tuple((one["name"], _adapter(one)) for one in start.lora),
        gpus=start.gpus,
        gpu_memory=start.gpu_memory,
        remote_code=start.remote_code,
        options=start.options,
    )


def _check_flags(flags: Mapping[str, Any]) -> None:
    """Refuse flags that are not the user's to set, also where vLLM would take them by the start of their name."""
    for name in flags:
        plain = name.lstrip("-").replace("_", "-").partition(".")[0]
        for reserved in RESERVED:
            if reserved.startswith(plain.removeprefix("no-")):
                raise Refusal(BAD_OPTION, f"The option extra_args cannot set --{plain}: xserve decides --{reserved}.")


def _check_format(start: Start, weights: Weights) -> None:
    if start.format in QUANTISED and not weights.quantised and "quantization" not in start.options:
        raise Refusal(
            BAD_WEIGHTS,
            f"The definition says {start.format}, but config.json has no quantization_config: {weights.path}.",
        )


def _check_head(start: Start, weights: Weights) -> None:
    """Refuse to rank with weights that only generate: vLLM would make up the numbers that are missing."""
    generates = any(name.endswith("ForCausalLM") for name in weights.architectures)
    if start.model_type == "rerank" and generates and "hf_overrides" not in start.options:
        raise Refusal(
            BAD_WEIGHTS,
            f"The weights generate text and have no classification head ({', '.join(weights.architectures)}), so "
            "they cannot rank by themselves. Say with the option hf_overrides how a score is taken from them.",
        )


def _length(start: Start, weights: Weights) -> int | None:
    if asked := start.options.get("max_model_len"):
        return int(asked)
    declared = start.definition.get("context_length" if start.model_type == "LLM" else "max_tokens")
    if declared and weights.length and weights.length < declared:
        print(
            f"Requests may use {weights.length} of the {declared} tokens declared: the weights end there.", flush=True
        )
    return min((int(value) for value in (declared, weights.length) if value), default=None) if declared else None


def _template(start: Start, weights: Weights) -> str:
    """The definition's chat template. Refuses a chat model that has none at all, and one that cannot be read."""
    template = str(start.definition.get("chat_template") or "")
    if _can(start, "chat") and not template and not weights.templated:
        raise Refusal(
            BAD_DEFINITION,
            "The definition says that the model can chat, but neither it nor the weights have a chat template.",
        )
    if template:
        _check_template(template)
    return template


def _check_template(template: str) -> None:
    from xserve_engine.templates import Template, TemplateError  # needs Jinja, which comes with vLLM

    try:
        Template(template, {})
    except TemplateError as error:
        raise Refusal(BAD_DEFINITION, str(error)) from None


def _tool_parser(start: Start, weights: Weights) -> str:
    if chosen := start.options.get("tool_parser"):
        return str(chosen)
    if not _can(start, "tools"):
        return ""
    template = start.definition.get("chat_template") or weights.chat_template
    return parser_of(start.definition.get("tool_parser"), template)


def _tags(start: Start) -> tuple[str, str] | None:
    """The tags around thoughts, None where there are none or the thoughts are to stay in the content."""
    opening, closing = (start.definition.get(f"reasoning_{end}_tag") for end in ("start", "end"))
    if not opening or not closing or not start.options.get("reasoning_content", True):
        return None
    return None if "reasoning_parser" in start.options else (opening, closing)


def _variables(options: Mapping[str, Any]) -> dict[str, Any]:
    """Variables for the chat template."""
    thinking = {"enable_thinking": options["enable_thinking"]} if "enable_thinking" in options else {}
    return {**options.get("chat_template_kwargs", {}), **thinking}


def _adapter(adapter: Mapping[str, str]) -> Path:
    path = Path(adapter["path"])
    if not (path / "adapter_config.json").is_file():
        raise Refusal(NO_WEIGHTS, f"The adapter {adapter['name']} is not there: {path} has no adapter_config.json.")
    return path


def _can(start: Start, ability: str) -> bool:
    return start.model_type == "LLM" and ability in (start.definition.get("model_ability") or ())

"""The backend xllamacpp: llama.cpp's own server, as a library inside this process.

It listens on the unix socket by itself and does everything from there: no byte of a request passes through
Python. While it loads, the main thread is inside the library, where Python's signal handlers do not run;
SIGTERM therefore keeps its default effect, the end of the process at once. Nothing needs tidying: the
daemon has drained before, and removes the socket.

One thing llama.cpp does not do: a request whose answer has not begun (or is not streamed) is cancelled only after a
second in which nobody got a result. While others stream, the work of a client that left early goes on to its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

from scores import front, inner_socket
from settings import POOLINGS, Settings
from xserve_engine.launch import BAD_DEFINITION, Refusal
from xserve_engine.wire import clear

# Servers that are never taken apart: the library may wait for ever if that happens right after the start.
_kept: list[Any] = []


def serve(settings: Settings) -> None:
    """Load the model, serve it on its socket, and stay until a signal ends the process."""
    behind = settings.model_type == "rerank"
    socket = inner_socket(settings.socket) if behind else settings.socket
    server = load(settings, socket)
    print(f"Serving {settings.uid} on {server.listening_address}.", flush=True)
    if behind:
        asyncio.run(_front(settings, socket))
    while True:
        signal.pause()


async def _front(settings: Settings, inner: str) -> None:
    """Serve rankings until SIGTERM, which takes the inner socket's file along."""

    def leave() -> None:
        clear(inner)
        os._exit(0)  # the library's threads would hold up a tidy exit

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    await front(settings.socket, inner, settings.probable)


def load(settings: Settings, socket: str) -> Any:
    """The server, listening on `socket` with its weights loaded; it lives as long as the object.

    Raises `RuntimeError` if llama.cpp gives up, `Refusal` if it does so because of the chat template.
    """
    import xllamacpp

    clear(socket)
    try:
        return xllamacpp.Server(parameters(settings, socket))
    except RuntimeError:
        if settings.template and _loads_with_own_template(settings, socket):
            raise Refusal(
                BAD_DEFINITION, "llama.cpp cannot read the definition's chat template; see the log above."
            ) from None
        raise


def _loads_with_own_template(settings: Settings, socket: str) -> bool:
    """Whether all is well but the template. The library tells the reason of a failure only in the log."""
    import xllamacpp

    clear(socket)
    trial = parameters(settings, socket)
    trial.chat_template = ""
    try:
        _kept.append(xllamacpp.Server(trial))
    except RuntimeError:
        return False
    return True


def parameters(settings: Settings, socket: str) -> Any:
    """The library's parameters."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(settings.weights)
    params.model_alias = {settings.uid}
    params.hostnames = [socket]
    params.ui = False
    params.endpoint_metrics = True
    params.offline = True
    params.warmup = settings.options["warmup"]
    params.load_mode = _member(xllamacpp.llama_load_mode, "LLAMA_LOAD_MODE", settings.options["load_mode"])
    _set_sizes(params, settings)
    _set_devices(params, settings, xllamacpp)
    if settings.model_type == "LLM":
        _set_text(params, settings, xllamacpp)
    else:
        _set_pooling(params, settings, xllamacpp)
    return params


def _set_sizes(params: Any, settings: Settings) -> None:
    options = settings.options
    params.n_ctx, params.n_batch, params.n_ubatch = settings.cache, settings.batch, settings.ubatch
    params.n_parallel = options["n_parallel"]
    params.kv_unified = settings.shared
    params.cache_ram_mib = options["cache_ram_mib"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.rope_freq_base = options["rope_freq_base"]
    params.rope_freq_scale = options["rope_freq_scale"]


def _set_devices(params: Any, settings: Settings, library: Any) -> None:
    options = settings.options
    params.n_gpu_layers, params.main_gpu = options["n_gpu_layers"], options["main_gpu"]
    params.split_mode = _member(library.llama_split_mode, "LLAMA_SPLIT_MODE", options["split_mode"])
    if options["tensor_split"]:
        room = len(params.tensor_split)
        params.tensor_split = [*options["tensor_split"], *[0.0] * room][:room]
    attention = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}[options["flash_attn"]]
    params.flash_attn_type = _member(library.llama_flash_attn_type, "LLAMA_FLASH_ATTN_TYPE", attention)
    params.cache_type_k = _member(library.ggml_type, "GGML_TYPE", options["cache_type_k"])
    params.cache_type_v = _member(library.ggml_type, "GGML_TYPE", options["cache_type_v"])


def _set_text(params: Any, settings: Settings, library: Any) -> None:
    options = settings.options
    params.use_jinja = True
    params.cache_prompt = settings.caching
    params.chat_template = settings.template
    params.antiprompt = list(settings.stops.texts)
    params.sampling.seed = options["seed"] % 2**32
    params.sampling.reasoning_budget_tokens = options["reasoning_budget"]
    params.reasoning_format = _member(
        library.common_reasoning_format, "COMMON_REASONING_FORMAT", options["reasoning_format"]
    )
    params.default_template_kwargs = {name: json.dumps(value) for name, value in settings.variables.items()}
    params.lora_adapters = [library.CommonAdapterLoraInfo(adapter.path, adapter.scale) for adapter in settings.lora]
    if options["mmproj"]:
        params.mmproj.path = options["mmproj"]
    for token in settings.stops.hidden:
        print(
            f"Stop token {token} is a control token that is no end; this backend cannot stop at it.",
            flush=True,
        )


def _set_pooling(params: Any, settings: Settings, library: Any) -> None:
    params.embedding = True
    params.embd_normalize = 2 if settings.options["normalize"] else -1
    if settings.pooling:
        params.pooling_type = library.llama_pooling_type(POOLINGS.index(settings.pooling))


def _member(enumeration: Any, prefix: str, name: str) -> Any:
    return getattr(enumeration, f"{prefix}_{name.upper()}")

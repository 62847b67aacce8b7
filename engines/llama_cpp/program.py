"""The backend llama-server: the program of that name on PATH, for who builds llama.cpp for their own machine.

This process becomes that program, so nothing stands between it and its clients. Only a ranking needs the
front of `scores`; then the program is a child of this process, and each ends with the other.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from scores import front, inner_socket
from settings import Settings
from xserve_engine.wire import clear

PROGRAM = "llama-server"
PR_SET_PDEATHSIG = 1
# Metadata keys that each can make one more token an end of the answer.
ENDS = ("eom_token_id", "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id")


def serve(settings: Settings) -> None:
    """Serve until a signal ends the process. Does not return."""
    clear(settings.socket)
    if settings.model_type != "rerank":
        os.execvp(PROGRAM, [PROGRAM, *arguments(settings, settings.socket)])
    inner = inner_socket(settings.socket)
    clear(inner)
    sys.exit(asyncio.run(_serve_behind_front(settings, inner)))


async def _serve_behind_front(settings: Settings, inner: str) -> int:
    """Run the program behind the front; its exit code once it has ended, 128 and the signal where one ended it.

    Raises OSError where the front cannot listen; the program has ended then, too.
    """
    child = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments(settings, inner), stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, child.terminate)
    listening = asyncio.create_task(front(settings.socket, inner, settings.probable))
    ended = asyncio.create_task(child.wait())
    await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
    if listening.done() and not ended.done():  # it listens for ever, unless it cannot
        child.kill()
    code = await ended
    clear(inner)
    if listening.done():
        listening.result()
    listening.cancel()
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def arguments(settings: Settings, socket: str) -> list[str]:
    """The program's arguments."""
    return [
        *("--model", str(settings.weights), "--alias", settings.uid, "--host", socket),
        *("--metrics", "--no-ui", "--offline"),
        *_sizes(settings),
        *_devices(settings),
        *(_text(settings) if settings.model_type == "LLM" else _pooling(settings)),
    ]


def _sizes(settings: Settings) -> Iterator[str]:
    options = settings.options
    yield from ("--ctx-size", str(settings.cache), "--parallel", str(options["n_parallel"]))
    yield from ("--batch-size", str(settings.batch), "--ubatch-size", str(settings.ubatch))
    yield from ("--threads", str(settings.threads), "--threads-batch", str(settings.threads))
    yield "--kv-unified" if settings.shared else "--no-kv-unified"
    yield from ("--cache-ram", str(options["cache_ram_mib"]), "--load-mode", options["load_mode"])
    yield "--warmup" if options["warmup"] else "--no-warmup"
    for name in ("rope_freq_base", "rope_freq_scale"):
        if options[name]:
            yield from (f"--{name.replace('_', '-')}", str(options[name]))


def _devices(settings: Settings) -> Iterator[str]:
    options = settings.options
    if options["n_gpu_layers"] >= 0:
        yield from ("--n-gpu-layers", str(options["n_gpu_layers"]))
    yield from ("--main-gpu", str(options["main_gpu"]), "--split-mode", options["split_mode"])
    if options["tensor_split"]:
        yield from ("--tensor-split", ",".join(map(str, options["tensor_split"])))
    yield from ("--flash-attn", options["flash_attn"])
    yield from ("--cache-type-k", options["cache_type_k"], "--cache-type-v", options["cache_type_v"])


def _text(settings: Settings) -> Iterator[str]:
    options = settings.options
    yield from ("--jinja", "--seed", str(options["seed"]), "--reasoning-format", options["reasoning_format"])
    yield from ("--reasoning-budget", str(options["reasoning_budget"]))
    yield "--cache-prompt" if settings.caching else "--no-cache-prompt"
    if settings.template:
        yield from ("--chat-template", settings.template)
    if settings.variables:
        yield from ("--chat-template-kwargs", json.dumps(settings.variables))
    for text in settings.stops.texts:
        yield from ("--reverse-prompt", text.replace("\\", "\\\\"))  # it reads escapes in them
    for key, token in zip(ENDS, settings.stops.hidden, strict=False):
        yield from ("--override-kv", f"tokenizer.ggml.{key}=int:{token}")
    for adapter in settings.lora:
        yield from ("--lora-scaled", f"{adapter.path}:{adapter.scale}")
    if options["mmproj"]:
        yield from ("--mmproj", options["mmproj"])


def _pooling(settings: Settings) -> Iterator[str]:
    yield from ("--embeddings", "--embd-normalize", "2" if settings.options["normalize"] else "-1")
    if settings.model_type == "rerank":
        yield "--reranking"
    elif settings.pooling:
        yield from ("--pooling", settings.pooling)

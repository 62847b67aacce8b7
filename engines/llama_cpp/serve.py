"""llama.cpp as an engine: GGUF files for text, embedding and ranking.

Three backends can do the work; see `native`, `program` and `bindings`. Which one is taken is said by the
option `backend`, else by the daemon, else the first one that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable

from settings import Settings, settle
from xserve_engine.launch import NO_BACKEND, Refusal, Start

INSTALLED: dict[str, Callable[[], object]] = {
    "xllamacpp": lambda: importlib.util.find_spec("xllamacpp"),
    "llama-cpp-python": lambda: importlib.util.find_spec("llama_cpp"),
    "llama-server": lambda: shutil.which("llama-server"),
}


def run(start: Start) -> None:
    """Serve until a signal ends the process."""
    os.umask(0o077)  # the socket is this user's alone
    settings = settle(start)
    backend = choose(start)
    print(
        f"llama.cpp by {backend}: {settings.weights.name}, {settings.context} tokens a request, "
        f"{settings.options['n_parallel']} at once, {settings.threads} threads.",
        flush=True,
    )
    serve_with(backend, settings)


def choose(start: Start) -> str:
    """The backend to take. Refuses one that is not installed, and an installation without any."""
    wanted = start.options.get("backend") or start.backend
    if wanted and wanted not in INSTALLED:
        raise Refusal(NO_BACKEND, f"There is no backend {wanted}; there are {', '.join(INSTALLED)}.")
    for name in [wanted] if wanted else INSTALLED:
        if INSTALLED[name]():
            return name
    raise Refusal(NO_BACKEND, f"{wanted or 'No backend'} is not installed for {sys.executable}.")


def serve_with(backend: str, settings: Settings) -> None:
    """Serve with this backend; its module is loaded only if it is taken."""
    modules = {"xllamacpp": "native", "llama-cpp-python": "bindings", "llama-server": "program"}
    importlib.import_module(modules[backend]).serve(settings)

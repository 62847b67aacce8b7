"""Sentence Transformers as an engine: vectors of texts, and rankings of documents.

The model is loaded, tried once and only then listened for. One thread reads texts into tokens, another computes;
`xserve_engine.batching` puts the texts of all clients together in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping

from settings import Settings, settle
from xserve_engine.batching import Batcher
from xserve_engine.host import host
from xserve_engine.launch import NO_BACKEND, Refusal, Start
from xserve_engine.wire import Handler


def run(start: Start) -> None:
    """Serve until a signal ends the process."""
    os.umask(0o077)  # the socket is this user's alone
    settings = settle(start)
    print(f"Loading {settings.weights}.", flush=True)
    prepare = _preparation(settings.model_type)
    routes, batcher = prepare(settings)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(host(start, routes, batcher))


def _preparation(model_type: str) -> Callable[[Settings], tuple[Mapping[str, Handler], Batcher]]:
    """What loads a model of this type. The libraries take seconds to import, so only what is needed is."""
    try:
        if model_type == "rerank":
            from ranker import prepare
        else:
            from embedder import prepare
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"A library is not installed: {error}.") from error
    return prepare

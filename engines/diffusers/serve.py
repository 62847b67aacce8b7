"""Diffusion models as an engine: pictures from words, from pictures, and within masks, by the library diffusers.

A folder that diffusers can load is served whatever its family: its index names the pipeline, and the library knows
the pipelines of the same family for the other tasks. One request is painted at a time, the pictures of one request
together as far as the memory goes; others wait for their turn.
"""

from __future__ import annotations

import asyncio
import os

from settings import settle
from xserve_engine.host import Work, host
from xserve_engine.launch import BAD_DEFINITION, Refusal, Start
from xserve_engine.wire import HttpError


def run(start: Start) -> None:
    """Serve until a signal ends the process. Refuses what can never work."""
    os.umask(0o077)  # the socket is this user's alone
    settings = settle(start)
    print(f"diffusers: loading {settings.weights}.", flush=True)
    from api import Api  # after the refusals that need no library: it takes seconds to load
    from loading import load
    from planning import Planner

    pipeline = load(settings)
    work = Work()
    try:
        api = Api(Planner(pipeline, settings), settings, work)
    except HttpError as error:
        raise Refusal(BAD_DEFINITION, f"default_generate_config of the definition: {error}") from None
    asyncio.run(host(start, api.routes(), work, {"/progress": api.progress}))

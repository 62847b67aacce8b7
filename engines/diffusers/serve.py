"""Diffusion models as an engine: pictures from words, from pictures, and within masks, by the library diffusers.

A folder that diffusers can load is served whatever its family: its index names the pipeline, and the library knows
the pipelines of the same family for the other tasks. One request is painted at a time, the pictures of one request
together as far as the memory goes; others wait for their turn.
"""

from __future__ import annotations

import asyncio
import os

from index import read_index
from settings import Settings, settle
from wishes import Defaults, read_defaults
from xserve_engine.host import Work, host
from xserve_engine.launch import BAD_DEFINITION, BAD_OPTION, Refusal, Start
from xserve_engine.wire import HttpError


def run(start: Start) -> None:
    """Serve until a signal ends the process. Refuses what can never work, at once where no library has to tell."""
    os.umask(0o077)  # the socket is this user's alone
    settings = settle(start)
    index = read_index(settings.weights, remote_code=settings.remote_code)
    defaults = defaults_of(settings)
    print(f"diffusers: loading {settings.weights}.", flush=True)
    from api import Api  # only now: the libraries take seconds to load
    from loading import load
    from planning import Planner

    work = Work()
    try:
        planner = Planner(load(settings, index), settings, defaults.parameters)
    except HttpError as error:
        raise Refusal(BAD_OPTION, str(error)) from None
    api = Api(planner, settings, defaults.members, work)
    asyncio.run(host(start, api.routes(), work, {"/progress": api.progress}))


def defaults_of(settings: Settings) -> Defaults:
    """The definition's defaults for requests. Refuses what no request could ask."""
    try:
        return read_defaults(settings.requests, settings.options["max_steps"])
    except HttpError as error:
        raise Refusal(BAD_DEFINITION, f"default_generate_config of the definition: {error}") from None

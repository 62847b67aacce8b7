"""The transformers library as an engine: text models from ordinary folders, many requests decoded together.

`loading` brings the model, `batching` runs it, `sampling` chooses tokens, `questions` and `chats` read requests,
`words` and `answers` write what is said. The parts meet in `Api`.
"""

from __future__ import annotations

import asyncio
import os
import traceback

from settings import settle
from xserve_engine.launch import Refusal, Start


def run(start: Start) -> None:
    """Serve until a signal ends the process."""
    os.umask(0o077)  # the socket is this user's alone
    settings = settle(start)
    print(f"transformers: loading {settings.weights}.", flush=True)
    from api import live  # torch and transformers take seconds to load; what is wrong above is told at once

    try:
        asyncio.run(live(settings))
    except Refusal:
        raise
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # the model's thread would keep the process alive

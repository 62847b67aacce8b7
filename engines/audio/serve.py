"""Speech by transformers as an engine: Whisper hears, VITS speaks; which of them it is, the weights say."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from settings import Settings, settle
from xserve_engine.host import Work, host
from xserve_engine.launch import NO_BACKEND, Refusal, Start
from xserve_engine.wire import Handler


def run(start: Start) -> None:
    """Serve until a signal ends the process. Refuses what can never work."""
    settings = settle(start)
    print(f"transformers: loading {settings.architecture} from {settings.weights}.", flush=True)
    work = Work()
    try:
        routes = (_hearing if settings.architecture == "whisper" else _speaking)(settings, work)
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"transformers cannot be used by {sys.executable}: {error}.") from None
    asyncio.run(host(start, routes, work))


def _hearing(settings: Settings, work: Work) -> Mapping[str, Handler]:
    from ear import Ear
    from xserve_engine.hearing import Hearing

    return Hearing(Ear(settings), work, settings.most_seconds, settings.language).routes()


def _speaking(settings: Settings, work: Work) -> Mapping[str, Handler]:
    from mouth import Mouth
    from xserve_engine.speaking import Speaking

    mouth = Mouth(settings)
    return Speaking(mouth, work, settings.most_characters, mouth.voice).routes()

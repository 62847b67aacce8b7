"""Whisper by CTranslate2 as an engine: faster-whisper's own way through files of any length.

Its segments come one by one, so a departed client's work ends with the window of 30 seconds that is being heard;
CTranslate2 itself cannot be interrupted.
"""

from __future__ import annotations

import asyncio

from listening import Ear
from settings import settle
from xserve_engine.hearing import Hearing
from xserve_engine.host import Work, host
from xserve_engine.launch import Start


def run(start: Start) -> None:
    """Serve until a signal ends the process. Refuses what can never work."""
    settings = settle(start)
    print(f"faster-whisper: loading {settings.weights}.", flush=True)
    ear = Ear(settings)
    work = Work()
    hearing = Hearing(ear, work, settings.most, settings.language)
    asyncio.run(host(start, hearing.routes(), work))

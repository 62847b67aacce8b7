"""Kokoro as an engine: text to speech, sentence by sentence, so a departed client's work ends with its sentence."""

from __future__ import annotations

import asyncio

from mouth import Mouth
from xserve_engine.host import Work, host
from xserve_engine.launch import Start, refuse_unknown
from xserve_engine.speaking import MOST_TEXT, Speaking

OPTIONS = {"use_cuda", "threads", "voice", "language", "max_characters"}


def run(start: Start) -> None:
    """Serve until a signal ends the process. Refuses what can never work."""
    refuse_unknown(start.options, OPTIONS)
    print(f"Kokoro: loading {start.weights}.", flush=True)
    mouth = Mouth(start)
    work = Work()
    speaking = Speaking(mouth, work, start.options.get("max_characters", MOST_TEXT), mouth.voice)
    asyncio.run(host(start, speaking.routes(), work))

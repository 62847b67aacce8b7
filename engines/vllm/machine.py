"""What vLLM will run on, as vLLM itself finds out."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from xserve_engine.launch import NO_BACKEND, Refusal


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the model will be computed."""

    card: bool  # False: on the processor
    memory: int = 0  # bytes of one card; 0: not asked


def look_at_machine() -> Machine:
    """The machine that vLLM sees. Takes seconds: it loads vLLM, but touches no card. Refuses one it is not made for."""
    from vllm.platforms import current_platform

    if current_platform.is_unspecified():
        raise Refusal(NO_BACKEND, f"The vLLM of {sys.executable} finds nothing here that it was built for: no card?")
    if current_platform.is_cpu():
        return Machine(card=False)
    return Machine(card=True, memory=current_platform.get_device_total_memory())

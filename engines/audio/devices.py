"""Where a model computes, and with which numbers."""

from __future__ import annotations

import torch
from settings import Settings
from xserve_engine.launch import BAD_OPTION, Refusal


def device(settings: Settings) -> torch.device:
    """The device that was asked for; auto: a card if there is one. Refuses one that is not there."""
    name = settings.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
    except RuntimeError:
        raise Refusal(BAD_OPTION, f"There is no device {name}.") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise Refusal(BAD_OPTION, f"There is no device {name}: {torch.cuda.device_count()} cards can be seen.")
    return found


def dtype(settings: Settings) -> torch.dtype | str:
    """The numbers that were asked for; auto: plain ones on processors, those of the weights on cards."""
    if settings.dtype != "auto":
        found = getattr(torch, settings.dtype.removeprefix("torch."), None)
        if not isinstance(found, torch.dtype):
            raise Refusal(BAD_OPTION, f"There is no dtype {settings.dtype}.")
        return found
    return torch.float32 if device(settings).type == "cpu" else "auto"

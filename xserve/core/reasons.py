"""The closed list of reason codes. Every state that is not simply "ready" carries one, with a sentence."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a deployment is not (fully) serving its wanted revision."""

    # It waits for something that a person or another file brings.
    NO_DEFINITION = "NoDefinition"
    AMBIGUOUS_TYPE = "AmbiguousType"
    NO_SPEC = "NoSpec"
    NO_ENGINE = "NoEngine"
    BAD_OPTIONS = "BadOptions"
    NO_WEIGHTS = "NoWeights"
    BAD_WEIGHTS = "BadWeights"
    NEEDS_DOWNLOAD = "NeedsDownload"
    NO_GPU = "NoGpu"
    NO_ENVIRONMENT = "NoEnvironment"
    # It is on its way.
    PREPARING = "PreparingEnvironment"
    LOADING = "Loading"
    PROBING = "Probing"
    TURN = "WaitsForTurn"
    UPDATING = "Updating"
    STOPPING = "Stopping"
    # Something failed.
    BACK_OFF = "BackOff"
    CRASHED = "Crashed"
    OUT_OF_MEMORY = "OutOfMemory"
    START_TIMEOUT = "StartTimeout"
    UNHEALTHY = "Unhealthy"
    NEVER_STARTS = "NeverStarts"
    GAVE_UP = "GaveUp"
    # All is as wanted.
    READY = "Ready"
    SCALED_TO_ZERO = "ScaledToZero"

"""Models of ONNX, loaded the same way by every engine that has one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from .launch import BAD_WEIGHTS, NO_BACKEND, Refusal


def load(file: Path, options: Mapping[str, Any]) -> onnxruntime.InferenceSession:
    """The model in a file, on `threads` processor threads, or on a card with `use_cuda`.

    Refuses a file that is no such model, and a card where this build of onnxruntime has no use for one.
    """
    provider = "CUDAExecutionProvider" if options.get("use_cuda") else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise Refusal(NO_BACKEND, "use_cuda needs the package onnxruntime-gpu in place of onnxruntime.")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.get("threads") or threads()
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the processor
    try:
        return onnxruntime.InferenceSession(str(file), settings, providers=[provider])
    except Exception as error:  # onnxruntime raises classes of its own, unrelated to each other
        raise Refusal(BAD_WEIGHTS, f"The model cannot be loaded: {file}: {error}.") from None


def threads() -> int:
    """What OMP_NUM_THREADS says, else the processors that this process may use."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else len(os.sched_getaffinity(0))

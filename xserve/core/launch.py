"""What an engine is told: everything that makes one revision of one deployment, and its digest.

Two launches with the same digest are the same revision: nothing restarts between them. What can change
while a replica runs (aliases, request limit) is therefore not in here; see `exposure.Exposure`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# The version of the launch file that engines read; see engines/README.md.
LAUNCH_FILE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Launch:
    """The launch parameters of one revision, as plain values. Goes to the engine as JSON."""

    uid: str  # the public name; what clients put in "model"
    engine: str  # the manifest's name
    model_type: str
    model_name: str
    format: str
    size: str  # model_size_in_billions as written, "" where the type has none
    quantization: str
    weights: str  # absolute path of a file or directory; "" where the model needs none
    definition: Mapping[str, Any]  # the definition's own fields that an engine may act on
    options: Mapping[str, Any] = field(default_factory=dict)  # valid against the manifest's schema
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 0  # cards of each replica; 0: none were asked for
    gpu_memory: int | float | None = None  # bytes, or a share of each card (0 to 1]; None: the engine's default
    lora: Sequence[Mapping[str, str]] = ()  # adapters: `name` and absolute `path`
    remote_code: bool = False  # whether code that comes with the weights may run
    launcher_dirs: Sequence[str] = ()  # folders in which launchers of our own are looked for

    def as_file(self) -> dict[str, Any]:
        """The content of the launch file, without the environment (that goes to the process itself)."""
        content = asdict(self)
        del content["env"]
        return {"version": LAUNCH_FILE_VERSION, **content}

    def digest(self) -> str:
        """The revision: 12 hexadecimal digits of SHA-256 over the canonical JSON of all fields."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

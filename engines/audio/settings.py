"""What a speech model is to be run with: its defaults, then the definition's, then the options of the deployment.

A definition's `default_model_config` may name `device` and `dtype` (also as `torch_dtype`), its
`default_transcription_config` arguments of transformers' generation and Whisper's own three thresholds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xserve_engine.launch import BAD_DEFINITION, BAD_WEIGHTS, Refusal, Start, refuse_unknown, require_weights

ARCHITECTURES = ("whisper", "vits")
OPTIONS = {"device", "dtype", "num_beams", "language", "max_seconds", "voice", "max_characters"}
LOADING = ("device", "dtype", "torch_dtype")
GENERATING = ("num_beams", "length_penalty", "repetition_penalty", "no_repeat_ngram_size")
THRESHOLDS = {"compression_ratio_threshold": 2.4, "logprob_threshold": -1.0, "no_speech_threshold": 0.6}  # OpenAI's


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that hearing and speaking need to know."""

    weights: Path
    architecture: str  # of `ARCHITECTURES`
    device: str
    dtype: str
    generating: Mapping[str, Any]
    thresholds: Mapping[str, float]
    language: str  # of transcriptions that name none; "": found out
    voice: str  # of speeches that name none; "": the first
    most_seconds: float  # of one transcription's sound
    most_characters: int  # of one speech's input


def settle(start: Start) -> Settings:
    """The settings of this start. Raises `Refusal` with a sentence for what can never work."""
    refuse_unknown(start.options, OPTIONS)
    options = start.options
    weights = require_weights(start)
    loading = _declared(start, "default_model_config", LOADING)
    transcribing = _declared(start, "default_transcription_config", (*GENERATING, *THRESHOLDS, "language"))
    generating = {name: transcribing[name] for name in GENERATING if name in transcribing}
    if "num_beams" in options:
        generating["num_beams"] = options["num_beams"]
    return Settings(
        weights=weights,
        architecture=_architecture(weights),
        device=options.get("device") or loading.get("device") or "auto",
        dtype=options.get("dtype") or loading.get("dtype") or loading.get("torch_dtype") or "auto",
        generating=generating,
        thresholds={name: transcribing.get(name, value) for name, value in THRESHOLDS.items()},
        language=options.get("language") or transcribing.get("language") or "",
        voice=options.get("voice", ""),
        most_seconds=options.get("max_seconds", 7200),
        most_characters=options.get("max_characters", 4096),
    )


def _declared(start: Start, field: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The arguments in a field of the definition. Refuses unknown ones."""
    declared = dict(start.definition.get(field) or {})
    for name in declared:
        if name not in known:
            raise Refusal(BAD_DEFINITION, f"The definition's {field} has {name}; known are {', '.join(known)}.")
    return declared


def _architecture(weights: Path) -> str:
    """What kind of model the folder holds. Refuses one that this engine does not serve."""
    file = weights / "config.json"
    if (weights / "model.bin").is_file():
        raise Refusal(BAD_WEIGHTS, f"{weights} is in CTranslate2's layout, which the engine faster_whisper serves.")
    try:
        found = json.loads(file.read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError:
        raise Refusal(BAD_WEIGHTS, f"The folder of the weights has no config.json: {weights}.") from None
    except (ValueError, AttributeError):
        raise Refusal(BAD_WEIGHTS, f"The config.json of the weights cannot be read: {file}.") from None
    if found not in ARCHITECTURES:
        raise Refusal(BAD_WEIGHTS, f"The weights are of a {found} model; served are {', '.join(ARCHITECTURES)}.")
    return str(found)

"""What faster-whisper is to be run with: its defaults, then the definition's, then the options of the deployment.

`default_model_config` of a definition holds arguments for loading, `default_transcription_config` arguments for
transcribing, both by the library's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xserve_engine.hearing import MOST_SECONDS
from xserve_engine.launch import BAD_DEFINITION, BAD_WEIGHTS, Refusal, Start, refuse_unknown, require_weights

LOADING = ("device", "device_index", "compute_type", "cpu_threads", "num_workers")
# Arguments of transcribing that a definition may set; what a request says itself, or what reaches out, is not here.
TRANSCRIBING = (
    *("beam_size", "best_of", "patience", "length_penalty", "repetition_penalty", "no_repeat_ngram_size"),
    *("compression_ratio_threshold", "log_prob_threshold", "no_speech_threshold", "condition_on_previous_text"),
    *("prompt_reset_on_temperature", "suppress_blank", "suppress_tokens", "max_initial_timestamp", "multilingual"),
    *("vad_filter", "vad_parameters", "max_new_tokens", "hallucination_silence_threshold", "hotwords", "language"),
)
OPTIONS = {"device", "compute_type", "cpu_threads", "beam_size", "condition_on_previous_text", "vad_filter"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that listening needs to know."""

    weights: Path
    loading: Mapping[str, Any]
    transcribing: Mapping[str, Any]
    language: str  # of requests that name none; "": found out
    most: float  # seconds of one request's sound


def settle(start: Start) -> Settings:
    """The settings of this start. Raises `Refusal` with a sentence for what can never work."""
    refuse_unknown(start.options, OPTIONS | {"language", "max_seconds"})
    weights = require_weights(start)
    _check_layout(weights)
    loading = _declared(start, "default_model_config", LOADING)
    transcribing = _declared(start, "default_transcription_config", TRANSCRIBING)
    language = transcribing.pop("language", None)
    loading |= {name: value for name, value in start.options.items() if name in LOADING}
    transcribing |= {name: value for name, value in start.options.items() if name in TRANSCRIBING}
    return Settings(
        weights=weights,
        loading=loading,
        transcribing=transcribing,
        language=start.options.get("language") or language or "",
        most=start.options.get("max_seconds", MOST_SECONDS),
    )


def _declared(start: Start, field: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The arguments in a field of the definition. Refuses unknown ones."""
    declared = dict(start.definition.get(field) or {})
    for name in declared:
        if name not in known:
            raise Refusal(BAD_DEFINITION, f"The definition's {field} has {name}; known are {', '.join(known)}.")
    return declared


def _check_layout(weights: Path) -> None:
    if not (weights / "model.bin").is_file():
        raise Refusal(
            BAD_WEIGHTS,
            f"There is no model.bin in {weights}, so it is not in CTranslate2's layout. "
            "Whisper in the layout of transformers is served by the engine audio.",
        )

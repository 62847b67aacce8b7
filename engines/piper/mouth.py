"""The speaker around a Piper voice: a file of ONNX, and one of JSON beside it that describes it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Collection, Generator, Mapping
from pathlib import Path
from typing import Any

from xserve_engine.launch import BAD_DEFINITION, BAD_OPTION, BAD_WEIGHTS, NO_BACKEND, Refusal, Start, require_weights
from xserve_engine.sound import Samples
from xserve_engine.speaking import FASTEST, SLOWEST, Script

ONLY = "default"  # what the speaker of a voice with one speaker is called
SCALES = ("noise_scale", "noise_w_scale")


class Mouth:
    """A voice that speaks."""

    speeds = (SLOWEST, FASTEST)

    def __init__(self, start: Start) -> None:
        """Load. Refuses weights, options and defaults of the definition that cannot work."""
        weights = find_voice(require_weights(start))
        self._scales = scales(start)
        self._piper = _load(weights, start.options)
        config = self._piper.config
        self.rate: int = config.sample_rate
        self._speakers: Mapping[str, int] = config.speaker_id_map or {ONLY: 0}
        self._several = config.num_speakers > 1
        self.voices: Collection[str] = tuple(self._speakers)
        self.voice: str = start.options.get("voice") or self.voices[0]
        if self.voice not in self._speakers:
            raise Refusal(BAD_OPTION, f"There is no voice {self.voice}; there are {', '.join(self._speakers)}.")

    def speak(self, script: Script, left: threading.Event) -> Generator[Samples, None, None]:
        """A piece per sentence."""
        from piper import SynthesisConfig

        slowness = (self._piper.config.length_scale or 1.0) / script.speed
        speaker = self._speakers[script.voice] if self._several else None
        how = SynthesisConfig(speaker_id=speaker, length_scale=slowness, **self._scales)
        for chunk in self._piper.synthesize(script.text, how):
            yield chunk.audio_float_array


def find_voice(weights: Path) -> Path:
    """The voice's ONNX file: the path itself, or the only one in the folder. Refuses anything else."""
    found = sorted(weights.glob("*.onnx")) if weights.is_dir() else [weights]
    if len(found) != 1:
        raise Refusal(BAD_WEIGHTS, f"There must be one voice, a file ending in .onnx, in {weights}, not {len(found)}.")
    if not Path(f"{found[0]}.json").is_file():
        raise Refusal(BAD_WEIGHTS, f"The file that describes the voice is not beside it: {found[0]}.json.")
    return found[0]


def scales(start: Start) -> dict[str, float]:
    """How the voice varies: the definition's `default_model_config`, then the options."""
    declared = start.definition.get("default_model_config") or {}
    for name, value in declared.items():
        if name not in SCALES or not isinstance(value, int | float):
            raise Refusal(BAD_DEFINITION, f"The default_model_config may have numbers for {' and '.join(SCALES)}.")
    return {**declared, **{name: start.options[name] for name in SCALES if name in start.options}}


def _load(weights: Path, options: Mapping[str, Any]) -> Any:
    try:
        from piper import PiperConfig, PiperVoice
        from xserve_engine.sessions import load
    except ImportError as error:
        raise Refusal(NO_BACKEND, f"Piper cannot be used by {sys.executable}: {error}.") from None
    description = Path(f"{weights}.json")
    try:
        config = PiperConfig.from_dict(json.loads(description.read_text(encoding="utf-8")))
    except (ValueError, LookupError, TypeError) as error:
        raise Refusal(BAD_WEIGHTS, f"The voice's description cannot be read: {description}: {error!r}.") from None
    return PiperVoice(session=load(weights, options), config=config)

"""VITS as a speaker, MMS voices among it: sentence by sentence."""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator

import torch
from devices import device, dtype
from settings import Settings
from transformers import VitsModel, VitsTokenizer
from xserve_engine.launch import BAD_OPTION, BAD_WEIGHTS, NO_BACKEND, Refusal
from xserve_engine.sentences import sentences
from xserve_engine.sound import Samples
from xserve_engine.speaking import FASTEST, SLOWEST, Script


class Mouth:
    """A VITS model that speaks."""

    speeds = (SLOWEST, FASTEST)

    def __init__(self, settings: Settings) -> None:
        """Load. Refuses weights and options that cannot work."""
        try:
            self._tokenizer = VitsTokenizer.from_pretrained(settings.weights, local_files_only=True)
            model = VitsModel.from_pretrained(settings.weights, local_files_only=True, dtype=dtype(settings))
        except (OSError, ValueError, RuntimeError) as error:
            raise Refusal(BAD_WEIGHTS, f"The weights cannot be loaded: {settings.weights}: {error}.") from None
        self._check_script()
        self._model = model.to(device(settings)).eval()
        self._pace: float = model.config.speaking_rate
        self.rate: int = model.config.sampling_rate
        self._several = model.config.num_speakers > 1
        self.voices: Collection[str] = tuple(map(str, range(model.config.num_speakers)))
        self.voice = settings.voice or self.voices[0]
        if self.voice not in self.voices:
            raise Refusal(BAD_OPTION, f"There is no voice {self.voice}; there are 0 to {self.voices[-1]}.")

    def _check_script(self) -> None:
        """Refuse voices that read a script which has to be made by a program that is not here."""
        needs = {
            "phonemize": "phonemes, which the package phonemizer makes",
            "is_uroman": "Latin letters, which uroman makes",
        }
        for name, what in needs.items():
            if getattr(self._tokenizer, name, False):
                raise Refusal(NO_BACKEND, f"This voice reads {what}; this engine has it not.")

    def speak(self, script: Script, left: threading.Event) -> Generator[Samples, None, None]:
        """A piece per sentence."""
        for sentence in sentences(script.text):
            yield self._say(sentence, script)

    @torch.inference_mode()
    def _say(self, sentence: str, script: Script) -> Samples:
        ids = self._tokenizer(sentence, return_tensors="pt").to(self._model.device)
        self._model.speaking_rate = self._pace * script.speed  # the model's thread alone is here
        speaker = int(script.voice) if self._several else None
        return self._model(**ids, speaker_id=speaker).waveform[0].float().cpu().numpy()

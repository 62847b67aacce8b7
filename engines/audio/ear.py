"""Whisper as a listener: windows of 30 seconds, each decoded by transformers' own `generate`.

A window that comes out improbable or repetitive is decoded again, at a higher temperature, up OpenAI's ladder. What
follows the last whole segment of a window is heard again at the start of the next one, so no word is cut in two.
Between two tokens it looks whether anybody still listens.
"""

from __future__ import annotations

import contextlib
import math
import threading
import zlib
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from devices import device, dtype
from settings import Settings
from transformers import StoppingCriteriaList, WhisperForConditionalGeneration, WhisperProcessor
from words import group
from xserve_engine.hearing import Wish
from xserve_engine.launch import BAD_WEIGHTS, Refusal
from xserve_engine.sound import RATE, Samples
from xserve_engine.transcript import Segment, whole_words

WINDOW = 30 * RATE  # samples
TAIL = RATE // 10  # samples at the end that are too few to hold anything
LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
MOST_PROMPT = 223  # tokens of the text that goes before; Whisper knows 448 for text, prompt and commands together


class LeftError(Exception):
    """The client left in the middle of a window."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window as the model's encoder understood it."""

    seek: int  # samples before it
    length: int  # samples of it
    encoded: Any
    mask: torch.Tensor  # over its frames: which hold sound
    silence: float  # probability that nobody speaks


class Ear:
    """A Whisper model that hears."""

    def __init__(self, settings: Settings) -> None:
        """Load. Refuses weights and options that cannot work."""
        self._settings = settings
        try:
            self._processor = WhisperProcessor.from_pretrained(settings.weights, local_files_only=True)
            model = WhisperForConditionalGeneration.from_pretrained(
                settings.weights, local_files_only=True, dtype=dtype(settings)
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise Refusal(BAD_WEIGHTS, f"The weights cannot be loaded: {settings.weights}: {error}.") from None
        self._model = model.to(device(settings)).eval()
        self._declared = model.generation_config
        codes = getattr(self._declared, "lang_to_id", None) or {}
        self.languages: Collection[str] = {code[2:-2]: one for code, one in codes.items()} or {"en": 0}

    @torch.inference_mode()
    def detect(self, sound: Samples) -> str:
        """The most probable language of the first 30 seconds."""
        found = self._model.detect_language(encoder_outputs=self._window(sound, 0).encoded)
        return str(self._processor.tokenizer.convert_ids_to_tokens(found.tolist())[0][2:-2])

    def hear(self, sound: Samples, wish: Wish, left: threading.Event) -> Generator[Segment, None, None]:
        """The segments, window by window."""
        seek, prompt = 0, self._prompt(wish.prompt)
        while seek == 0 or len(sound) - seek > TAIL:
            segments, step = self._listen(self._window(sound, seek), wish, prompt, left)
            yield from segments
            seek, prompt = seek + step, None

    def _prompt(self, text: str) -> torch.Tensor | None:
        if not text.strip():
            return None
        ids = self._processor.get_prompt_ids(text, return_tensors="pt")
        return torch.cat([ids[:1], ids[1:][-MOST_PROMPT:]]).to(self._model.device)

    @torch.inference_mode()
    def _window(self, sound: Samples, seek: int) -> Window:
        part = sound[seek : seek + WINDOW]
        features = self._processor.feature_extractor(
            part, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True
        ).to(self._model.device)
        encoded = self._model.get_encoder()(features.input_features.to(self._model.dtype))
        begin = torch.tensor([[self._declared.decoder_start_token_id]], device=self._model.device)
        first = self._model(encoder_outputs=encoded, decoder_input_ids=begin).logits[0, -1].float().softmax(-1)
        silence = float(first[self._declared.no_timestamps_token_id - 1])
        return Window(seek, len(part), encoded, features.attention_mask, silence)

    def _listen(
        self, window: Window, wish: Wish, prompt: torch.Tensor | None, left: threading.Event
    ) -> tuple[list[Segment], int]:
        """The window's segments, and after how many samples the next window begins."""
        limits = self._settings.thresholds
        for temperature in (wish.temperature,) if wish.temperature else LADDER:
            found = self._generate(window, wish, prompt, temperature, left)
            sure = self._sureness(found, temperature)
            segments = [self._segment(one, window, wish, temperature, sure) for one in found]
            if sure < limits["logprob_threshold"] and window.silence > limits["no_speech_threshold"]:
                return [], window.length
            repetition = _repetition("".join(one.text for one in segments))
            if sure >= limits["logprob_threshold"] and repetition <= limits["compression_ratio_threshold"]:
                break
        return [one for one in segments if one.text.strip()], self._step(found, window)

    @torch.inference_mode()
    def _generate(
        self, window: Window, wish: Wish, prompt: torch.Tensor | None, temperature: float, left: threading.Event
    ) -> list[dict[str, Any]]:
        """The window's segments as transformers cuts them."""

        def look(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            if left.is_set():
                raise LeftError
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

        with self._own_attention():
            answer = self._model.generate(
                encoder_outputs=window.encoded,
                attention_mask=window.mask,
                temperature=temperature,
                prompt_ids=prompt,
                return_timestamps=True,
                return_segments=True,
                return_token_timestamps=wish.words,
                force_unique_generate_call=True,  # one window is one pass: where the next begins is decided here
                logprob_threshold=-math.inf,  # never decode again by itself, but say how sure it is
                stopping_criteria=StoppingCriteriaList([look]),
                **self._commands(wish),
                **self._settings.generating,
            )
        return list(answer["segments"][0])

    def _commands(self, wish: Wish) -> dict[str, str]:
        """What a model of several languages is told, and one of a single language must not be."""
        return {"language": wish.language, "task": wish.task} if len(self.languages) > 1 else {}

    @contextlib.contextmanager
    def _own_attention(self) -> Iterator[None]:
        """Timing words makes transformers take another way to compute, for good; what follows must not differ."""
        config = self._model.model.config
        way = config._attn_implementation
        try:
            yield
        finally:
            config._attn_implementation = way

    def _sureness(self, found: list[dict[str, Any]], temperature: float) -> float:
        """Mean logarithm of the probability of the window's tokens, its end included."""
        result = found[0]["result"]
        if "sequences_scores" in result:  # of a beam search
            return float(result["sequences_scores"])
        scores = torch.stack(result["scores"]).float() * (temperature or 1.0)
        chosen = result["sequences"][-len(scores) :]
        return float(scores.log_softmax(-1).gather(-1, chosen[:, None]).mean())

    def _segment(self, found: dict[str, Any], window: Window, wish: Wish, temperature: float, sure: float) -> Segment:
        """A segment of transformers as ours. A window is 30 s wide, so an end may lie behind the sound's."""
        begin, width = window.seek / RATE, window.length / RATE
        tokens = found["tokens"].tolist()
        text = self._processor.tokenizer.decode(tokens, skip_special_tokens=True)
        times = found["token_timestamps"].tolist() if wish.words else []
        return Segment(
            start=round(begin + min(float(found["start"]), width), 3),
            end=round(begin + min(float(found["end"]), width), 3),
            text=text,
            tokens=tokens,
            seek=window.seek * 100 // RATE,
            temperature=temperature,
            avg_logprob=sure,
            compression_ratio=_repetition(text),
            no_speech_prob=window.silence,
            words=whole_words(
                group(self._processor.tokenizer, tokens, times, wish.language, begin, width), wish.language
            ),
        )

    def _step(self, found: list[dict[str, Any]], window: Window) -> int:
        """Samples to the next window: all of this one, or to where its last whole segment ends.

        Two times at the end say that speech went on, but not until where; transformers leaves that part out.
        """
        first_time = self._declared.no_timestamps_token_id + 1
        tokens = found[-1]["tokens"].tolist()
        end = round(float(found[-1]["end"]) * RATE)
        unfinished = len(tokens) > 1 and min(tokens[-2:]) >= first_time
        return end if unfinished and 0 < end < window.length else window.length


def _repetition(text: str) -> float:
    """How much smaller compression makes the text; what repeats itself, a lot."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0

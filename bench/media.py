"""Sound, pictures and models of other kinds: small ones, and requests of about what people send."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from .load import request
from .row import ROOT, Question, Row, ask_json, interpreter, made

_SPEAK = ROOT / "tests" / "engines" / "library" / "speak.py"
_SENTENCE = "The quick brown fox jumps over the lazy dog."
_BOUNDARY = "the-end-of-a-part"
_FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


def hearing(engine: str, folder: str, **options: Any) -> Row:
    """Whisper tiny.en."""
    weights = made(folder)
    return Row(
        name=engine,
        engine=engine,
        unit="sentences/s",
        definition=_audio("whisper", "audio2text", weights),
        questions=[_upload(engine, _spoken())],
        script=("hearing.py", engine, str(weights)),
        options=options,
        serial=True,
    )


def speaking(engine: str, folder: str, **options: Any) -> Row:
    """A voice."""
    weights = made(folder)
    body = {"input": _SENTENCE, "voice": "", "response_format": "wav"}
    return Row(
        name=engine,
        engine=engine,
        unit="sentences/s",
        definition=_audio(engine, "text2audio", weights),
        questions=[ask_json(engine, "/v1/audio/speech", body)],
        script=("speaking.py", engine, str(weights)),
        options=options,
        serial=True,
    )


def drawing() -> Row:
    """A tiny Stable Diffusion, trained for the tests."""
    weights = made("tiny-sd")
    fixed = {"size": "64x64", "num_inference_steps": 8, "guidance_scale": 3, "response_format": "b64_json"}
    bodies = [{**fixed, "prompt": f"a {colour} square", "seed": 1} for colour in ("red", "green", "blue")]
    return Row(
        name="diffusers",
        engine="diffusers",
        unit="pictures/s",
        definition={
            "model_type": "image",
            "model_family": "stable_diffusion",
            "model_ability": ["text2image"],
            "model_uri": str(weights),
        },
        questions=[ask_json("diffusers", "/v1/images/generations", body) for body in bodies],
        script=("drawing.py", str(weights)),
        options={"device": "cpu"},
        serial=True,
    )


def predicting() -> Row:
    """A classifier whose work is done in less time than it takes to ask: no share of it can be promised."""
    weights = made("iris.skops")
    return Row(
        name="flexible",
        engine="flexible",
        unit="calls/s",
        definition={
            "model_type": "flexible",
            "launcher": "xserve.launchers.sklearn",
            "model_uri": str(weights),
        },
        questions=[ask_json("flexible", "/v1/flexible/infers", {"args": [_FLOWERS]})],
        script=("predicting.py", str(weights)),
        serial=True,
        target=None,
    )


def _audio(family: str, ability: str, weights: Path) -> dict[str, Any]:
    return {
        "model_type": "audio",
        "model_family": family,
        "model_ability": [ability],
        "multilingual": False,
        "model_uri": str(weights),
    }


def _upload(name: str, sound: Path) -> Question:
    """A form, as OpenAI's clients send it."""
    mark = f"--{_BOUNDARY}\r\ncontent-disposition: form-data; name="
    head = f'{mark}"model"\r\n\r\n{name}\r\n{mark}"file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\n'
    body = head.encode() + sound.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    path = "/v1/audio/transcriptions"
    return Question(path, request(body, path, kind), {"file": str(sound)})


@functools.cache
def _spoken() -> Path:
    """A sentence by Piper's voice, kept until the end of the program."""
    folder = tempfile.TemporaryDirectory(prefix="xserve-bench-sound-")
    _kept.append(folder)
    path = Path(folder.name) / "sentence.wav"
    command = [interpreter("piper"), str(_SPEAK), str(made("piper-joe")), _SENTENCE, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


_kept: list[Any] = []

"""What the tests of the engine diffusers share: asking it for pictures, looking at them, and the library's scripts."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageStat

from .harness import ENGINES, Engine
from .roster.diffusers import subjects

(SUBJECT,) = subjects()
LIBRARY = Path(__file__).parent / "library"
GENERATE, VARY, EDIT, INPAINT = (f"/v1/images/{name}" for name in ("generations", "variations", "edits", "inpainting"))
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
STEPS = {"num_inference_steps": 8, "guidance_scale": 3}  # the definition's own defaults
Picture = Image.Image


def run(script: str, *arguments: str, given: object = None) -> str:
    """What a script of `library/` prints, run by the engine's interpreter, which finds the engine's modules."""
    modules = os.pathsep.join(str(ENGINES / folder) for folder in ("_kit", "diffusers"))
    done = subprocess.run(
        [SUBJECT.python, str(LIBRARY / script), SUBJECT.weights, *arguments],
        input=json.dumps(given),
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": modules},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def generate(engine: Engine, prompt: str = "a red square", **body: Any) -> list[Picture]:
    """The pictures of a request for words."""
    return pictures_of(engine.post(GENERATE, prompt=prompt, **body))


def upload(engine: Engine, path: str, files: dict[str, Any], **fields: Any) -> tuple[int, dict[str, Any]]:
    """Status and answer of a form; a file is a picture or bytes, and several of one name are a list."""
    boundary, parts = "1f2e3d", []
    for name, value in {"model": "served", **fields}.items():
        parts.append(f'name="{name}"\r\n\r\n{value}'.encode())
    for name, value in files.items():
        for one in value if isinstance(value, list) else [value]:
            data = one if isinstance(one, bytes) else file_of(one)
            parts.append(f'name="{name}"; filename="{name}.png"\r\nContent-Type: image/png\r\n\r\n'.encode() + data)
    head = f"--{boundary}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    status, answer = engine.ask("POST", path, body, f"multipart/form-data; boundary={boundary}")
    return status, json.loads(answer)


def drawn(engine: Engine, path: str, files: dict[str, Any], **fields: Any) -> list[Picture]:
    """The pictures of a form that must be answered with 200."""
    status, answer = upload(engine, path, files, **fields)
    assert status == 200, answer
    return pictures_of(answer)


def pictures_of(answer: dict[str, Any]) -> list[Picture]:
    assert isinstance(answer["created"], int)
    return [Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))).convert("RGB") for item in answer["data"]]


def file_of(picture: Picture) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def text_of(picture: Picture) -> str:
    return base64.b64encode(file_of(picture)).decode()


def square(colour: str, size: tuple[int, int] = (64, 64)) -> Picture:
    """A square of the colour on grey, as the model knows it."""
    picture = Image.new("RGB", size, (128, 128, 128))
    picture.paste(COLOURS[colour], (8, 8, size[0] - 8, size[1] - 8))
    return picture


def left_half(inside: object, outside: object, mode: str = "L") -> Picture:
    mask = Image.new(mode, (64, 64), outside)  # type: ignore[arg-type]
    mask.paste(inside, (0, 0, 32, 64))  # type: ignore[arg-type]
    return mask


def looks(picture: Picture, box: tuple[int, int, int, int] = (16, 16, 48, 48)) -> str:
    """The colour that this part of the picture is nearest to."""
    mean = ImageStat.Stat(picture.crop(box)).mean
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], mean, strict=True)))


def distance(one: Picture, other: Picture) -> int:
    """The most by which a pixel differs in any of its colours."""
    return max(high for _, high in ImageChops.difference(one, other).getextrema())  # type: ignore[misc]


def refusal(status: int, answer: dict[str, Any]) -> str:
    """The sentence of an answer that says that the request is at fault."""
    assert status == 400, answer
    return str(answer["error"]["message"])


def make_things(folder: Path) -> Path:
    """The folder, with a LoRA adapter and a ControlNet for the model in it."""
    run("adorn.py", str(folder))
    return folder

"""What a request asks for, as a value: read from JSON or from a form, checked as far as that goes without the model.

Members come from three places, a later one winning: the definition's `default_generate_config`, the request, and the
JSON text `kwargs` in it, in which Xinference's clients send whatever they have no field for. A member that is
neither named here nor OpenAI's own goes to the pipeline as it is (`strength`, `guidance_scale`, ...).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parameters import read_parameters
from pictures import WRITABLE, Picture, Size
from xserve_engine.form import Form
from xserve_engine.wire import HttpError

OWN = frozenset(
    (
        *("model", "prompt", "n", "size", "width", "height", "seed", "scheduler", "sampler_name"),
        *("response_format", "output_format", "request_id", "padding_image_to_multiple", "stream", "kwargs"),
    )
)
# Members of OpenAI's that say nothing to these models: taken, and without effect.
WITHOUT_EFFECT = frozenset(
    (
        *("user", "quality", "style", "background", "moderation", "input_fidelity"),
        *("output_compression", "partial_images"),
    )
)
SIZES = ("size", "width", "height")
ITS_OWN_SIZE = ("", "auto", "original")
MOST_SEED = 2**63


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for pictures."""

    task: str  # of settings.TASKS
    model: str
    prompt: str
    count: int
    size: Size | None  # None: the picture's own, or the model's
    seed: int | None  # of the first picture, the next one has the next; None: any
    file: str  # format of the answer's files
    request_id: str
    multiple: int  # an uploaded picture is padded to sides that are multiples; 0: not
    scheduler: str | None
    settings: Mapping[str, Any]  # further parameters of the pipeline
    pictures: tuple[Picture, ...] = ()
    mask: Picture | None = None


def members_of_form(form: Form) -> dict[str, Any]:
    """The form's fields as members of a JSON object: what reads as a number or truth value is one; prompts are not."""
    return {name: _value(name, texts[0]) for name, texts in form.fields.items()}


def _value(name: str, text: str) -> Any:
    if "prompt" in name or name in OWN - {"n", "seed", "width", "height", "padding_image_to_multiple", "stream"}:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request takes that does not say otherwise: `default_generate_config`, in two halves."""

    members: Mapping[str, Any]  # of requests
    parameters: Mapping[str, Any]  # of pipelines; those that a pipeline does not take are left out for it


def read_defaults(config: Mapping[str, Any], max_steps: int) -> Defaults:
    """The defaults in a `default_generate_config`. Raises `HttpError` for what no request could ask."""
    members = {name: value for name, value in config.items() if name in OWN - {"kwargs", "request_id", "model"}}
    read_wish("text2image", {"prompt": ""}, members)
    others = {name: value for name, value in config.items() if name not in OWN}
    return Defaults(members, read_parameters(others, max_steps))


def read_wish(
    task: str,
    members: Mapping[str, Any],
    defaults: Mapping[str, Any],
    pictures: tuple[Picture, ...] = (),
    mask: Picture | None = None,
) -> Wish:
    """The wish of these members. Raises `HttpError` 400 with a sentence for what cannot be."""
    if pictures:  # whose own size is the one to begin with
        defaults = {name: value for name, value in defaults.items() if name not in SIZES}
    asked = dict(defaults) | _said(members) | _said(_kwargs(members.get("kwargs")))
    if asked.get("stream"):
        raise HttpError(400, "Images are not streamed; leave stream out, and ask for progress by request_id.")
    return Wish(
        task=task,
        model=_text(asked, "model", ""),
        prompt=_text(asked, "prompt", None if task == "text2image" else ""),
        count=_whole(asked, "n", 1, 1),
        size=_size(asked),
        seed=_seed(asked),
        file=_file(asked),
        request_id=_text(asked, "request_id", ""),
        multiple=_whole(asked, "padding_image_to_multiple", 0, 0),
        scheduler=_text(asked, "scheduler", "") or _text(asked, "sampler_name", "") or None,
        settings={name: value for name, value in asked.items() if name not in OWN | WITHOUT_EFFECT},
        pictures=pictures,
        mask=mask,
    )


def _said(members: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty: clients send fields that their user left out so."""
    return {name: value for name, value in members.items() if value is not None and (value != "" or name == "prompt")}


def _kwargs(text: object) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) and text else text or {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HttpError(400, "kwargs must be the text of a JSON object.")
    return value


def _text(asked: Mapping[str, Any], name: str, default: str | None) -> str:
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise HttpError(400, f"{name} must be a text." if name in asked else f"There must be a {name}.")
    return value


def _whole(asked: Mapping[str, Any], name: str, default: int, least: int) -> int:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise HttpError(400, f"{name} must be a whole number from {least} on, not {value!r}.")
    return value


def _seed(asked: Mapping[str, Any]) -> int | None:
    """-1 stands for any seed, as it does with Xinference."""
    seed = _whole(asked, "seed", -1, -1)
    if seed >= MOST_SEED:
        raise HttpError(400, f"seed must be less than 2 to the power of 63, not {seed}.")
    return None if seed < 0 else seed


def _size(asked: Mapping[str, Any]) -> Size | None:
    """Written as 512x512 or 512*512; Xinference's users may say width and height instead, which win."""
    if "width" in asked or "height" in asked:
        return _whole(asked, "width", 0, 1), _whole(asked, "height", 0, 1)
    text = _text(asked, "size", "")
    if text in ITS_OWN_SIZE:
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})[x*]([1-9]\d{0,5})", text)
    if not found:
        raise HttpError(400, f"size must be written as 512x512, width first, not {text!r}.")
    return int(found[1]), int(found[2])


def _file(asked: Mapping[str, Any]) -> str:
    if asked.get("response_format", "b64_json") not in ("url", "b64_json"):
        raise HttpError(400, f"response_format must be url or b64_json, not {asked['response_format']!r}.")
    kind = asked.get("output_format", "png")
    if kind not in WRITABLE:
        raise HttpError(400, f"output_format must be one of {', '.join(WRITABLE)}, not {kind!r}.")
    return str(kind)

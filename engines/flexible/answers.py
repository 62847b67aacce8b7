"""What a model answers, as JSON.

Text, numbers, booleans, None, lists and objects stay. Whatever has `tolist` (arrays and numbers of numpy, tensors
of torch) becomes lists and numbers; tuples, sets and other collections become lists; dataclasses and pydantic's
models become objects, members of an enumeration their value, times ISO 8601, paths their text. Bytes become
base64 text, and a picture becomes the base64 text of its PNG. A number that JSON does not have (NaN, infinity)
becomes null. Anything else is an error that names its class.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import io
import json
import math
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any


def encode(value: Any) -> bytes:
    """The value as JSON. Raises `TypeError` for what has no form in it."""
    return json.dumps(plain(value), allow_nan=False).encode()


def plain(value: Any) -> Any:
    """The value in terms of JSON's own types."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return _scalar(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    for fits, convert in RULES:
        if fits(value):
            return convert(value)
    raise TypeError(
        f"infer returned a {type(value).__module__}.{type(value).__qualname__}, which has no form in JSON; "
        "return text, numbers, lists, dicts, arrays, bytes or pictures"
    )


def _scalar(value: Any) -> Any:
    """A scalar without its subclass: enumerations of text or numbers are their value."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _key(key: Any) -> str:
    """A member's name. Numbers, as class labels are, become text."""
    key = plain(key)
    return key if isinstance(key, str) else json.dumps(key)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _png(picture: Any) -> str:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return _base64(file.getvalue())


def _is_picture(value: Any) -> bool:
    """Whether it is one of Pillow, which need not be loaded to tell."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _has(method: str) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, type) and callable(getattr(value, method, None))


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


# Whether a rule is for a value, and what it makes of it. The first that fits holds.
RULES: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (_is(bytes, bytearray, memoryview), lambda value: _base64(bytes(value))),
    (_is(enum.Enum), lambda value: plain(value.value)),
    (_is(datetime.date, datetime.time), lambda value: value.isoformat()),
    (_is(os.PathLike), lambda value: plain(os.fspath(value))),
    (_is_picture, _png),
    (_is_dataclass, _fields),
    (_has("model_dump"), lambda value: plain(value.model_dump())),
    (_has("tolist"), lambda value: plain(value.tolist())),
    (_is(Collection), lambda value: [plain(item) for item in value]),
)

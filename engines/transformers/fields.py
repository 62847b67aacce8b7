"""Reading the members of a request's body: each has a kind and bounds, and whoever breaks them is told which and how.

Null stands for "not given" throughout, as OpenAI's clients send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xserve_engine.wire import HttpError

Body = Mapping[str, Any]
INFINITY = float("inf")


def number(body: Body, name: str, default: float, low: float = -INFINITY, high: float = INFINITY) -> float:
    """A number from `low` to `high`."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise HttpError(400, f"{name} must be a number from {low:g} to {high:g}, not {value!r}.")
    return value


def integer(body: Body, name: str, low: int, high: int = 2**63 - 1) -> int | None:
    """A whole number from `low` to `high`, None if it is not given."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise HttpError(400, f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return value


def flag(body: Body, name: str, default: bool = False) -> bool:
    """True or false."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise HttpError(400, f"{name} must be true or false, not {value!r}.")
    return value


def texts(body: Body, name: str) -> list[str] | None:
    """A text or a list of texts, as a list without empty ones; None if it is not given."""
    value = body.get(name)
    if value is None:
        return None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise HttpError(400, f"{name} must be a text or a list of texts.")
    return [one for one in listed if one]


def mapping(body: Body, name: str) -> Mapping[str, Any]:
    """An object; an empty one if it is not given."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HttpError(400, f"{name} must be an object.")
    return value


def token_ids(value: object, name: str, vocabulary: int) -> list[int]:
    """A list of token ids that the model has."""
    if not isinstance(value, list) or not all(_is_id(one, vocabulary) for one in value):
        raise HttpError(400, f"{name} must be a list of token ids from 0 to {vocabulary - 1}.")
    return value


def biases(body: Body, vocabulary: int) -> dict[int, float]:
    """What to add to the logits of which tokens."""
    given = mapping(body, "logit_bias")
    try:
        found = {int(token): number(given, token, 0, -100, 100) for token in given}
    except ValueError:
        raise HttpError(400, "The keys of logit_bias must be token ids.") from None
    token_ids(list(found), "logit_bias", vocabulary)
    return found


def _is_id(value: object, vocabulary: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < vocabulary

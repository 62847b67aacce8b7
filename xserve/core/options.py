"""A deploy entry's `options` against the schema in the engine's manifest."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any


def option_faults(options: Mapping[str, Any], schema: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """(place below `options`, sentence) for everything that the schema does not allow."""
    if not options and not schema.get("required"):
        return []
    # Imported late: most deployments have no options, and it takes a fifth of a second to load.
    from jsonschema import Draft202012Validator

    faults: list[tuple[tuple[str | int, ...], str]] = []
    known = list(schema.get("properties", {}))
    for error in Draft202012Validator(dict(schema)).iter_errors(dict(options)):
        if error.validator == "additionalProperties" and not error.absolute_path:
            faults += [((name,), _unknown(name, known)) for name in options if name not in known]
        else:
            place = tuple(error.absolute_path)
            name = ".".join(str(part) for part in place)
            faults.append((place, f"option {name}: {error.message}" if name else error.message))
    return faults


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    others = "valid are " + ", ".join(known) if known else "there are no options"
    hint = f"did you mean {near[0]!r}?" if near else others
    return f"unknown option {name!r}; {hint}"

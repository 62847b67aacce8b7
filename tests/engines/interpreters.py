"""The interpreters that run engines: one per environment."""

from __future__ import annotations

given: str | None = None  # by --python


def interpreter(engine: str, backend: str | None = None) -> tuple[str, str]:
    """Path of the interpreter for an engine, and why there is none."""
    if given:
        return given, ""
    return "", f"the environment of {engine} is not made"

"""What the fake can be told to do, and where: `options` of the launch, `POST /fake/options` while it runs,
and a member `fake` in a request's body for that request alone. All three take the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from xserve_engine.launch import BAD_OPTION, Refusal, refuse_unknown


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Times in seconds. The defaults are those of a healthy, fast engine."""

    # its life
    load: float = 0.0  # until health answers 200; the socket is there before, and health answers 503
    never_ready: bool = False
    exit_code: int = -1  # leave with this code instead of starting; -1: do not
    crash_after: int = -1  # leave with code 1 once this many requests have been answered; -1: do not
    ignore_sigterm: bool = False
    leak_children: int = 0  # grandchildren in sessions of their own, which outlive the engine
    eat_memory_mib: int = 0
    flood_log: str = ""  # "lines" | "endless" (one line that never ends), as fast as the reader takes it
    health: str = "ok"  # "ok" | "error" (500) | "hang" (never answers)
    # a generation
    tokens: int = 0  # words of the answer; 0: as many as it has
    first_token: float = 0.0  # before the first word
    token_interval: float = 0.0  # before each further word
    hang: bool = False  # never answer, with health still fine
    crash_at: int = -1  # leave with code 1 after this many words; -1: do not
    bad_stream: str = ""  # "head" | "chunk" | "json" | "cut": what is malformed
    status: int = 200  # answer with this error instead
    concurrency: int = 0  # requests worked on at once, the others wait; 0: all


def change(behaviour: Behaviour, options: Mapping[str, Any]) -> Behaviour:
    """The behaviour with these options in place. Raises `Refusal` for an unknown name or a wrong type."""
    defaults = {field.name: field.default for field in fields(Behaviour)}
    refuse_unknown(options, defaults)
    for name, value in options.items():
        want = type(defaults[name])
        fits = type(value) is want or (want is float and type(value) is int)
        if not fits:
            raise Refusal(BAD_OPTION, f"The option {name} must be a {want.__name__}, not {value!r}.")
    return replace(behaviour, **options)

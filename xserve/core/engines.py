"""Which engine serves which weights: by table, with the reason for every one that cannot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xserve.core.deploy import Entry
from xserve.core.manifest import Manifest, Serves


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine on this machine."""

    manifest: Manifest
    folder: str
    backend: str | None  # the first installed backend; "" where it needs none; None: not installed
    python: str = ""  # interpreter that runs it

    @property
    def missing(self) -> str:
        """The sentence for an engine that is not installed; empty for one that is."""
        if self.backend is not None:
            return ""
        ways = "; or ".join(backend.install for backend in self.manifest.backends)
        return f"not installed ({ways})"


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine for one of a definition's specs."""

    engine: Engine
    spec: Mapping[str, Any]  # {} for kinds without specs
    serves: Serves


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one engine says to one spec."""

    engine: str
    format: str
    size: str
    quantization: str
    reason: str  # empty: it can


def normal_name(name: str) -> str:
    """Engine names are compared without case and punctuation: `llama.cpp` is `llama_cpp`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_engine(name: str, engines: Sequence[Engine]) -> Engine | None:
    """The engine that a user means by `name`: its name or its title."""
    wanted = normal_name(name)
    for engine in engines:
        if wanted in {normal_name(engine.manifest.name), normal_name(engine.manifest.title)}:
            return engine
    return None


def specs_of(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sets of weights of an accepted definition; kinds without specs name theirs themselves."""
    specs = definition.get("model_specs")
    if specs is not None:
        return list(specs)
    flat = ("model_id", "model_uri", "model_revision", "model_hub")
    return [
        {
            **{key: definition.get(key) for key in flat},
            "model_format": definition.get("model_format") or "",
            "quantization": definition.get("quantization") or "none",
        }
    ]


def select_specs(definition: Mapping[str, Any], entry: Entry) -> list[Mapping[str, Any]]:
    """The specs that a deploy entry's format, size and quantisation leave."""
    wanted = {
        "model_format": entry.format,
        "model_size_in_billions": entry.size,
        "quantization": entry.quantization,
    }
    return [
        spec
        for spec in specs_of(definition)
        if all(value is None or str(spec.get(key)) == value for key, value in wanted.items())
    ]


def refusal(engine: Engine, definition: Mapping[str, Any], spec: Mapping[str, Any]) -> Serves | str:
    """The manifest's row by which the engine serves the spec, or why it does not."""
    rows = [row for row in engine.manifest.serves if row.type == definition["model_type"]]
    if not rows:
        return f"does not serve {definition['model_type']} models"
    fitting = [row for row in rows if not row.formats or spec["model_format"] in row.formats]
    if not fitting:
        formats = sorted({name for row in rows for name in row.formats})
        return f"needs {' or '.join(formats)}"
    return engine.missing or fitting[0]


def choose(
    definition: Mapping[str, Any],
    specs: Sequence[Mapping[str, Any]],
    wanted: str | None,
    engines: Sequence[Engine],
) -> Choice | str:
    """The first spec, in the definition's order, that an engine serves; or why none does.

    Engines that must be named (`only_when_named`) are passed over unless `wanted` names them.
    """
    offered = [engine for engine in engines if not engine.manifest.only_when_named]
    if wanted is not None:
        named = find_engine(wanted, engines)
        if named is None:
            return f"no engine is called {wanted!r}; there are " + (
                ", ".join(e.manifest.name for e in engines) or "none"
            )
        offered = [named]
    reasons: dict[str, str] = {}
    for spec in specs:
        for engine in offered:
            serves = refusal(engine, definition, spec)
            if isinstance(serves, Serves):
                return Choice(engine, spec, serves)
            reasons[engine.manifest.name] = serves
    sentences = [f"{name}: {why}" for name, why in reasons.items()] or ["there are no engines"]
    formats = " and ".join(sorted({str(spec["model_format"]) for spec in specs} - {""}))
    what = f"its {formats} weights" if formats else "it"
    return f"no engine can serve {what}: " + "; ".join(sentences)


def verdicts(definition: Mapping[str, Any], engines: Sequence[Engine]) -> Iterator[Verdict]:
    """The whole table for one definition, for people who ask `xserve engines MODEL`."""
    for spec in specs_of(definition):
        for engine in engines:
            serves = refusal(engine, definition, spec)
            yield Verdict(
                engine.manifest.name,
                str(spec["model_format"]),
                str(spec.get("model_size_in_billions") or ""),
                str(spec["quantization"]),
                serves if isinstance(serves, str) else "",
            )

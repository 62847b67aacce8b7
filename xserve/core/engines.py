"""Which engine serves which weights: by table, with the reason for every one that cannot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from xserve.core.deploy import Entry
from xserve.core.environment import Environment, Readiness
from xserve.core.manifest import Manifest, Serves


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine on this machine."""

    manifest: Manifest
    folder: str
    backend: str | None  # the one that is taken; "" where it needs none; None: not installed
    python: str = ""  # interpreter that runs it
    environment: Environment | None = None  # None: the daemon's own
    readiness: Readiness = Readiness.INSTALLED
    note: str = ""  # how far the making is, or why it failed

    @property
    def installed(self) -> bool:
        """Whether it could be started now."""
        return self.backend is not None and self.readiness is Readiness.INSTALLED

    @property
    def missing(self) -> str:
        """The sentence for an engine that is not installed; empty for one that is."""
        name = self.manifest.name
        if self.installed:
            return ""
        if self.backend is None:
            ways = "; or ".join(filter(None, (backend.install for backend in self.manifest.backends)))
            return f"not installed ({ways or f'xserve engines --install {name}'})"
        if self.readiness is Readiness.MAKING:
            return f"its environment is being made: {self.note}"
        if self.readiness is Readiness.FAILED:
            return (
                f"its environment could not be made: {self.note}; it is tried again after a while, or at xserve reload"
            )
        return "not installed (its environment is made when a deployment asks for it)"

    @property
    def obtainable(self) -> bool:
        """Whether it is installed, or xserve can see to that."""
        return self.backend is not None

    @property
    def modest(self) -> bool:
        """Whether it is taken only where a deployment names it."""
        backend = next((one for one in self.manifest.backends if one.name == self.backend), None)
        return self.manifest.only_when_named or (backend is not None and backend.only_when_named)


@dataclass(frozen=True, slots=True)
class Gates:
    """What the daemon's settings allow, as patterns of names."""

    remote_code: tuple[str, ...] = ()  # registrations whose weights may bring code
    launchers: tuple[str, ...] = ()  # dotted paths besides those that ship with an engine
    launcher_dirs: tuple[str, ...] = ()  # where they are looked for


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
    able: bool  # it can, perhaps after its environment was made
    taken: bool  # where an entry names no engine
    reason: str  # why not, or what has to be done first; empty: it can, now


_BY_NAME = "only where an entry names it"


def no_such_engine(wanted: str, names: Sequence[str]) -> str:
    """The sentence for a name that no engine has, with the one that may be meant."""
    near = get_close_matches(normal_name(wanted), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
    return f"no engine is called {wanted!r}; {hint}"


def normal_name(name: str) -> str:
    """Engine names are compared without case and punctuation: `llama.cpp` is `llama_cpp`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_engine(name: str, engines: Sequence[Engine]) -> Engine | None:
    """The engine that a user means by `name`: the one of that name, else the first of that title."""
    wanted = normal_name(name)
    named = [engine for engine in engines if normal_name(engine.manifest.name) == wanted]
    titled = [engine for engine in engines if normal_name(engine.manifest.title) == wanted]
    return next(iter((*named, *titled)), None)


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


def refusal(
    engine: Engine, definition: Mapping[str, Any], spec: Mapping[str, Any], gates: Gates, *, named: bool = False
) -> Serves | str:
    """The manifest's row by which the engine could serve the spec, or why it cannot, installed or not.

    An engine that was `named` may lack abilities of the definition: nobody has to use them all.
    """
    rows = [row for row in engine.manifest.serves if row.type == definition["model_type"]]
    if not rows:
        return f"does not serve {definition['model_type']} models"
    fitting = [row for row in rows if not row.formats or spec["model_format"] in row.formats]
    if not fitting:
        formats = sorted({name for row in rows for name in row.formats})
        return f"needs {' or '.join(formats)}"
    family = str(definition.get("model_family") or "").lower()
    related = [row for row in fitting if not row.families or _matches(family, row.families)]
    if not related:
        families = sorted({pattern for row in fitting for pattern in row.families})
        return f"needs a model_family like {' or '.join(families)}"
    launcher = str(definition.get("launcher") or "")
    allowed = [row for row in related if not row.launchers or _matches(launcher, (*row.launchers, *gates.launchers))]
    if not allowed:
        return f"the launcher {launcher} does not ship with it; allow_custom_launchers in xserve.yaml can allow it"
    wanted = set(definition.get("model_ability") or ())
    able = [row for row in allowed if not row.abilities or wanted <= set(row.abilities)]
    if able:
        return able[0]
    return max(allowed, key=lambda row: len(wanted & set(row.abilities))) if named else _unable(wanted, allowed)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _unable(wanted: set[str], rows: Sequence[Serves]) -> str:
    lacking = min((wanted - set(row.abilities) for row in rows), key=len)
    return f"lacks {' and '.join(sorted(lacking))}"


Suits = Callable[[Mapping[str, Any], Serves], str]
"""(spec, row) -> why the weights on disk are not what the row is made for; empty: nothing speaks against it."""


def choose(
    definition: Mapping[str, Any],
    specs: Sequence[Mapping[str, Any]],
    wanted: str | None,
    engines: Sequence[Engine],
    *,
    gates: Gates = Gates(),
    suits: Suits = lambda *_: "",
    current: str | None = None,
) -> Choice | str:
    """The best engine for one of the specs; or why none can serve any.

    Best is, in this order: the `current` one, installed rather than still to be installed, the first spec in the
    definition's order, the manifest's preference, the name. Engines that must be named are passed over unless
    `wanted` names them. The reasons are those of the engines that serve the type: of the others nobody expects it.
    """
    if wanted is None:
        offered = [engine for engine in engines if _is_offered(engine, definition["model_type"])]
    elif (named := find_engine(wanted, engines)) is None:
        return no_such_engine(wanted, [engine.manifest.name for engine in engines])
    else:
        offered = [named]
    choices: list[Choice] = []
    reasons: dict[str, str] = {}
    for spec in specs:
        for engine in offered:
            serves = refusal(engine, definition, spec, gates, named=wanted is not None)
            reason = _hindrance(engine, spec, serves, suits)
            if wanted is None and engine.modest:
                reason = reason or _BY_NAME
            if isinstance(serves, Serves) and not reason:
                choices.append(Choice(engine, spec, serves))
            else:
                reasons[engine.manifest.name] = reason
    if choices:
        return min(choices, key=lambda choice: _rank(choice, specs, current))
    return _nobody(definition["model_type"], specs, reasons)


def _is_offered(engine: Engine, model_type: str) -> bool:
    return not engine.manifest.only_when_named and any(row.type == model_type for row in engine.manifest.serves)


def _hindrance(engine: Engine, spec: Mapping[str, Any], serves: Serves | str, suits: Suits) -> str:
    if isinstance(serves, str):
        return serves
    return suits(spec, serves) or ("" if engine.obtainable else engine.missing)


def _rank(choice: Choice, specs: Sequence[Mapping[str, Any]], current: str | None) -> tuple[bool, bool, int, int]:
    """Ordered as `choose` says; engines come sorted by name."""
    engine = choice.engine
    kept = engine.manifest.name == current and engine.installed
    return not kept, not engine.installed, specs.index(choice.spec), -choice.serves.preference


def _nobody(model_type: str, specs: Sequence[Mapping[str, Any]], reasons: Mapping[str, str]) -> str:
    if not reasons:
        return f"no engine here serves {model_type} models"
    sentences = [f"{name}: {why}" for name, why in reasons.items()]
    formats = " and ".join(sorted({str(spec["model_format"]) for spec in specs} - {""}))
    what = f"its {formats} weights" if formats else "it"
    return f"no engine can serve {what}: " + "; ".join(sentences)


def verdicts(
    definition: Mapping[str, Any], engines: Sequence[Engine], gates: Gates, suits: Suits = lambda *_: ""
) -> Iterator[Verdict]:
    """The whole table for one definition, for people who ask `xserve engines MODEL`."""
    specs = specs_of(definition)
    best = choose(definition, specs, None, engines, gates=gates, suits=suits)
    for spec in specs:
        for engine in engines:
            serves = refusal(engine, definition, spec, gates)
            reason = _hindrance(engine, spec, serves, suits)
            remark = _BY_NAME if engine.modest else engine.missing
            yield Verdict(
                engine.manifest.name,
                str(spec["model_format"]),
                str(spec.get("model_size_in_billions") or ""),
                str(spec["quantization"]),
                able=not reason,
                taken=isinstance(best, Choice) and best.engine is engine and best.spec is spec,
                reason=reason or remark,
            )

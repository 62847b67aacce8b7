"""Judges a parsed document: is it a definition, a deploy file or daemon settings, and what is wrong with it.

A fault names a place as a path of keys and indices; whoever parsed the document knows its line and column.
Unknown keys: an error in our own files; in a definition kept with a warning, unless they look like a
misspelling of a known key that is absent.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from xserve.core.definition import KINDS
from xserve.core.deploy import FORBIDDEN, GATES, DeployFile
from xserve.core.manifest import Manifest
from xserve.core.modeltypes import MODEL_TYPES, infer
from xserve.core.modernise import Origins, Path, modernise
from xserve.core.problems import Severity
from xserve.core.settings import Settings

# Keys that Xinference adds when it lists definitions; harmless in a file.
_ECHOED = {
    "model_type",
    "cache_status",
    "download_hubs",
    "featured",
    "updated_at",
    "prompt_style",
}

# Sentences for the commonest of pydantic's errors; the others keep its own.
_SHAPES = {
    **dict.fromkeys(("dict_type", "model_type"), "must be a mapping of keys to values"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "list_type": "must be a list",
    "string_type": "must be text",
    "too_short": "must not be empty",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where in the document."""

    path: Path
    message: str
    severity: Severity = Severity.ERROR
    on_key: bool = False  # the key itself is the fault, not its value
    meant: Path = ()  # the known key that is missing, or that a misspelt one stands for


@dataclass(frozen=True, slots=True)
class Verdict:
    """The document as plain JSON data, or None where it is not accepted."""

    kind: str  # "model", "deploy", "settings" or "engine"
    value: dict[str, Any] | None
    faults: tuple[Fault, ...]


def kind_of(data: Any) -> str:
    """`model`, `deploy` or `settings`, told by content: `check` gets files without a meaningful name."""
    if not isinstance(data, Mapping) or "model_name" in data:
        return "model"
    if "models" in data or "defaults" in data:
        return "deploy"
    return "settings" if set(data) & (set(Settings.model_fields) - {"version"}) else "model"


_CALLED = {
    "model": "a model definition",
    "deploy": "a deploy file",
    "settings": "a settings file",
    "engine": "an engine's manifest",
}
_OWN: dict[str, type[BaseModel]] = {"deploy": DeployFile, "settings": Settings, "engine": Manifest}


def judge(kind: str, data: Any) -> Verdict:
    """The verdict on a parsed document of the given kind. Raises nothing; what is wrong is a fault."""
    if not isinstance(data, Mapping):
        what = _CALLED[kind]
        return Verdict(kind, None, (Fault((), f"must be a mapping of keys to values: this is not {what}"),))
    if kind == "model":
        return _judge_definition(data)
    return _judge_own(kind, _OWN[kind], data)


def _judge_definition(data: Mapping[str, Any]) -> Verdict:
    model_type = data.get("model_type") or infer(data)
    if not isinstance(model_type, str) or model_type not in KINDS:
        return Verdict("model", None, (_unknown_type(data),))
    origins = Origins()
    version = data.get("version", 2)
    if version == 1 and model_type != "flexible":
        new, origins = modernise(data, model_type)
    else:
        new = {**data, "version": 2 if version == 1 else version}
    new.pop("model_type", None)
    model = KINDS[model_type]
    unknown = list(_unknown_keys(model, new, ()))
    misspelt = {fault.meant for fault in unknown if fault.meant}
    # A misspelt required key is one fault, not two.
    shape = [fault for fault in _shape_faults(model, new) if fault.meant not in misspelt]
    faults = [replace(fault, path=origins.of(fault.path)) for fault in (*unknown, *shape)]
    if any(fault.severity is Severity.ERROR for fault in faults):
        return Verdict("model", None, tuple(_dedupe(faults)))
    value = model.model_validate(new).model_dump(mode="json")
    return Verdict("model", {"model_type": model_type, **value, "is_builtin": False}, tuple(_dedupe(faults)))


def _unknown_type(data: Mapping[str, Any]) -> Fault:
    given = data.get("model_type")
    if given is None:
        return Fault((), "cannot tell the model type; add the key model_type with one of " + ", ".join(MODEL_TYPES))
    return Fault(("model_type",), f"unknown model type {given!r}; {_nearest(str(given), MODEL_TYPES)}")


def _judge_own(kind: str, model: type[BaseModel], data: Mapping[str, Any]) -> Verdict:
    faults = _shape_faults(model, data)
    if faults:
        return Verdict(kind, None, tuple(_dedupe(faults)))
    return Verdict(kind, model.model_validate(data).model_dump(mode="json", exclude_unset=True), ())


def _shape_faults(model: type[BaseModel], data: Mapping[str, Any]) -> list[Fault]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return [_translate(model, dict(item)) for item in error.errors(include_url=False)]
    return []


def _translate(model: type[BaseModel], item: dict[str, Any]) -> Fault:
    """A sentence of ours for one of pydantic's errors."""
    path: Path = tuple(part for part in item["loc"] if part != "[key]")
    kind, message = item["type"], str(item["msg"])
    if kind == "extra_forbidden":
        return Fault(path, _refuse_key(model, path), on_key=True)
    if kind == "missing":
        return Fault(path[:-1], f"the required key {path[-1]!r} is missing", meant=path)
    if kind in {"literal_error", "enum"}:
        return Fault(path, _refuse_choice(item["input"], item["ctx"]["expected"]))
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
    else:
        message = _SHAPES.get(kind) or _lower(message).replace("input should", "must")
        if not isinstance(item["input"], list | dict):
            message += f", this is {_show(item['input'])}"
    return Fault(path, message, on_key="[key]" in item["loc"])


def _refuse_choice(value: Any, expected: str) -> str:
    words = _words(expected)
    if len(words) == 1:
        return f"must be {words[0]}, this is {_show(value)}"
    return f"{_show(value)} is not one of {expected}; {_nearest(str(value), words)}"


def _show(value: Any) -> str:
    return "null" if value is None else repr(value)


def _refuse_key(model: type[BaseModel], path: Path) -> str:
    name = str(path[-1])
    if name in FORBIDDEN and model is not Settings:
        return f"{name!r}: {FORBIDDEN[name]}"
    return f"unknown key {name!r}; {_nearest(name, _fields_at(model, path[:-1]))}"


def _unknown_keys(model: type[BaseModel], data: Any, path: Path) -> Iterator[Fault]:
    """Keys of a definition that no field has: a near miss of an absent field is an error, others a warning."""
    if not isinstance(data, Mapping):
        return
    absent = [name for name in model.model_fields if name not in data]
    for key in data:
        if key in model.model_fields or key in _ECHOED:
            continue
        if key in GATES:
            yield Fault((*path, key), f"{key!r}: {FORBIDDEN[key]}", on_key=True)
            continue
        near = difflib.get_close_matches(str(key), absent, n=1, cutoff=0.8)
        if near:
            hint = f"unknown key {key!r}; did you mean {near[0]!r}?"
            yield Fault((*path, key), hint, on_key=True, meant=(*path, near[0]))
        else:
            yield Fault((*path, key), f"unknown key {key!r} is kept, but nothing reads it", Severity.WARNING, True)
    for name, inner in _nested(model):
        value = data.get(name)
        rows = enumerate(value) if isinstance(value, list) else [((), value)]
        for row, item in rows:
            yield from _unknown_keys(inner, item, (*path, name) if row == () else (*path, name, row))  # type: ignore[arg-type]


def _nested(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None:
            yield name, inner


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside `X`, `X | None`, `list[X]` or `dict[str, X]`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in typing.get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _fields_at(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """The valid keys at a place inside a document."""
    here: type[BaseModel] = model
    for part in path:
        inner = _model_in(here.model_fields[part].annotation) if part in here.model_fields else None
        here = inner or here
    return list(here.model_fields)


def _nearest(word: str, valid: Iterable[str]) -> str:
    """`did you mean 'x'?`, or all valid words where none is near."""
    words = list(valid)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else "valid are " + ", ".join(words)


def _words(expected: str) -> list[str]:
    """pydantic writes `'a', 'b' or 'c'`."""
    return [word.strip(" '\"") for word in expected.replace(" or ", ", ").split(",")]


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _dedupe(faults: list[Fault]) -> Iterator[Fault]:
    seen: set[tuple[Path, str]] = set()
    for fault in faults:
        if (fault.path, fault.message) not in seen:
            seen.add((fault.path, fault.message))
            yield fault

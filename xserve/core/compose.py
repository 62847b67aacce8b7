"""A deploy entry with its engine and its weights -> everything that is needed to run it."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from xserve.core.definition import KINDS, LlmSpec
from xserve.core.deploy import Entry
from xserve.core.desired import Deployment, Names, Order, Registration
from xserve.core.engines import Choice, Gates
from xserve.core.exposure import Exposure
from xserve.core.launch import Launch
from xserve.core.manifest import Probe
from xserve.core.ports import Command, Wish
from xserve.core.text import path_of

# Keys of a definition that no engine acts on: a change of these restarts nothing.
_INERT = frozenset(
    ["version", "model_name", "model_description", "model_specs", "virtualenv", "cache_config", "is_builtin"]
)
_OF_THE_API = frozenset(["state", "runtime"])  # layers that the API writes
# What says where weights are; the launch has their path instead.
_SOURCE = frozenset(["model_id", "model_hub", "model_uri", "model_revision"])
# Of the text types these are for people; a speech model acts on its language.
_LANGUAGES = frozenset(["model_lang", "language"])
# Members of a spec that stand in the launch under names of their own.
_PLACED = frozenset(["model_format", "model_size_in_billions", "quantization"])


def acting(definition: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine is told of a definition: the known members that it may act on; those of the spec under `spec`.

    Keys that nobody knows are kept in the registration and go no further: a change of them restarts nothing.
    """
    model_type = definition["model_type"]
    inert = _INERT | _SOURCE | (frozenset() if model_type == "audio" else _LANGUAGES)
    told = {key: value for key, value in definition.items() if key in KINDS[model_type].model_fields.keys() - inert}
    known = LlmSpec.model_fields.keys() - _SOURCE - _PLACED
    of_spec = {key: value for key, value in spec.items() if key in known and value is not None}
    return {**told, "spec": of_spec} if of_spec else told


def compose(order: Order, registration: Registration, choice: Choice, gates: Gates, names: Names) -> Deployment:
    """What should run, for an entry from which nothing is missing any more."""
    launch = _launch(order, registration, choice, gates)
    exposure = _exposure(order.entry, registration, choice, launch, names)
    return Deployment(
        uid=order.uid,
        launch=launch,
        revision=launch.digest(),
        command=_command(choice, launch),
        replicas=order.entry.replicas,
        wish=_wish(order.entry),
        exposure=exposure,
        order=order,
        registration=registration,
        never_start=choice.engine.manifest.never_start,
    )


def _launch(order: Order, registration: Registration, choice: Choice, gates: Gates) -> Launch:
    manifest, entry, spec = choice.engine.manifest, order.entry, choice.spec
    weights = entry.path or spec.get("model_uri")
    return Launch(
        uid=order.uid,
        engine=manifest.name,
        model_type=registration.type,
        model_name=registration.name,
        format=str(spec["model_format"]),
        size=str(spec.get("model_size_in_billions") or ""),
        quantization=str(spec["quantization"]),
        weights=path_of(weights) if weights else "",
        definition=acting(registration.definition, spec),
        options=entry.options,
        env={**manifest.env, **entry.env},
        gpus=_cards(entry),
        gpu_memory=entry.gpu_memory,
        lora=tuple({"name": each.name, "path": path_of(each.path)} for each in entry.lora),
        remote_code=_may_bring_code(order, registration, gates),
        launcher_dirs=gates.launcher_dirs if registration.type == "flexible" else (),
    )


def _may_bring_code(order: Order, registration: Registration, gates: Gates) -> bool:
    """Whether code that comes with the weights may run.

    Whoever registers over the API chooses the name, and whoever launches over it the path: a pattern of names opens
    the gate for neither, as it would for anybody. Only `*` does.
    """
    chosen_by_caller = registration.layer in _OF_THE_API or (order.entry.path and order.layer in _OF_THE_API)
    patterns = [each for each in gates.remote_code if each == "*" or not chosen_by_caller]
    return any(fnmatchcase(registration.name, pattern) for pattern in patterns)


def _cards(entry: Entry) -> int:
    """GPUs of each replica; 0: none were asked for."""
    if isinstance(entry.gpus, list):
        return len(entry.gpus) // max(entry.replicas, 1)
    return entry.gpus if isinstance(entry.gpus, int) else 0


def _wish(entry: Entry) -> Wish:
    if isinstance(entry.gpus, list):
        return Wish(indices=tuple(entry.gpus), count=len(entry.gpus))
    return Wish(_cards(entry))


def _exposure(entry: Entry, registration: Registration, choice: Choice, launch: Launch, names: Names) -> Exposure:
    manifest, definition = choice.engine.manifest, launch.definition
    defaults: dict[str, Any] = {key: definition[key] for key in manifest.request_defaults if definition.get(key)}
    adapters: dict[str, Mapping[str, Any]] = {
        each["name"]: _selecting(manifest.adapters or {}, index)
        for index, each in enumerate(launch.lora)
        if each["name"] in names.adapters
    }
    return Exposure(
        registration.type, names.aliases, entry.request_limit, defaults, adapters, dict(choice.serves.ignores)
    )


def _selecting(members: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The members of a request that select the adapter at this place."""

    def fill(value: Any) -> Any:
        match value:
            case "{index}":
                return index
            case dict():
                return {key: fill(each) for key, each in value.items()}
            case list():
                return [fill(each) for each in value]
        return value

    return {key: fill(value) for key, value in members.items()}


def _probe(probe: Probe | None, options: Mapping[str, Any]) -> Probe | None:
    """The request that proves readiness; where an option says what it is, as that says."""
    if probe is None or probe.option is None:
        return probe
    body = options.get(probe.option)
    return None if body is None else probe.model_copy(update={"body": body})


def _command(choice: Choice, launch: Launch) -> Command:
    engine, manifest = choice.engine, choice.engine.manifest
    filled = {"{python}": engine.python, "{folder}": engine.folder, "{backend}": engine.backend or ""}
    argv = tuple(filled.get(word, word) for word in manifest.command)
    probe = _probe(choice.serves.probe, launch.options)
    return Command(argv, tuple(sorted(launch.env.items())), manifest.health, probe, manifest.stop_grace)

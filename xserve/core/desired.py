"""Registrations x deploy entries x engines -> what should run, or why it cannot yet.

Each entry is judged for itself: what is wrong with one never touches another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from xserve.core.definition import KINDS, LlmSpec
from xserve.core.deploy import Entry
from xserve.core.engines import Choice, Engine, Gates, choose, select_specs
from xserve.core.environment import Environment, Readiness
from xserve.core.exposure import Exposure
from xserve.core.launch import Launch
from xserve.core.manifest import ModelType, Probe
from xserve.core.options import option_faults
from xserve.core.ports import Command, Wish
from xserve.core.problems import Problem, Severity
from xserve.core.reasons import Reason
from xserve.core.text import path_of

# Keys of a definition that no engine acts on: a change of these restarts nothing.
_INERT = frozenset(
    ["version", "model_name", "model_description", "model_specs", "virtualenv", "cache_config", "is_builtin"]
)
# What says where weights are; the launch has their path instead.
_SOURCE = frozenset(["model_id", "model_hub", "model_uri", "model_revision"])
# Of the text types these are for people; a speech model acts on its language.
_LANGUAGES = frozenset(["model_lang", "language"])
# Members of a spec that stand in the launch under names of their own.
_PLACED = frozenset(["model_format", "model_size_in_billions", "quantization"])


@dataclass(frozen=True, slots=True)
class Registration:
    """An accepted definition."""

    type: ModelType
    name: str
    definition: Mapping[str, Any]
    layer: str  # builtin, admin, state or runtime
    path: str
    generation: str  # hash of the parsed document
    stale: bool = False  # a newer version of the file was rejected


@dataclass(frozen=True, slots=True)
class Order:
    """An accepted deploy entry."""

    uid: str
    entry: Entry
    layer: str
    path: str
    generation: str  # hash of the parsed entry, defaults applied
    stale: bool = False  # a newer version of the file was rejected


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of a path that a definition names, without loading anything."""

    kind: str  # "file", "directory" or "" (nothing is there)
    chat_template: bool | None = None  # whether they carry one; None: cannot tell
    trouble: str = ""  # a sentence where they cannot be what they should be


Look = Callable[[str, str], Weights]
"""(path, format) -> facts about the weights. Given by the caller: the core looks at no disk."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What should run."""

    uid: str
    launch: Launch
    revision: str
    command: Command
    replicas: int
    wish: Wish
    exposure: Exposure
    order: Order
    registration: Registration
    never_start: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What should run but cannot be started as things are. What runs already stays, unless it lost its definition.

    `exposure` is known once the definition is: clients are then told why, with 503 and not with 404.
    """

    uid: str
    reason: Reason
    sentence: str
    order: Order
    keep: bool = True
    exposure: Exposure | None = None
    place: tuple[str | int, ...] = ()  # what in the entry is at fault; (): the entry itself
    needs: Environment | None = None  # what has to be made first


@dataclass(frozen=True, slots=True)
class Desired:
    """All of it."""

    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Means:
    """What there is to run models with."""

    engines: Sequence[Engine]
    look: Look
    gates: Gates = field(default_factory=Gates)
    before: Mapping[str, Deployment] = field(default_factory=dict)
    """What was wanted before: an engine that is chosen is not changed because a better one was installed."""

    def chosen_before(self, order: Order, registration: Registration) -> str | None:
        """The engine that the same entry got for the same definition."""
        known = self.before.get(order.uid)
        same = (
            known is not None
            and known.order.generation == order.generation
            and known.registration.generation == registration.generation
        )
        return known.launch.engine if known is not None and same else None


def resolve(
    registrations: Mapping[tuple[str, str], Registration], orders: Mapping[str, Order], means: Means
) -> Desired:
    """What should run. Names that are taken are dropped with a problem; everything else waits with a reason."""
    names, problems = _settle_names(orders)
    deployments: dict[str, Deployment] = {}
    waiting: dict[str, Waiting] = {}
    for uid, order in orders.items():
        outcome = _resolve_one(order, registrations, means, names[uid])
        if isinstance(outcome, Deployment):
            deployments[uid] = outcome
        else:
            waiting[uid] = outcome
    return Desired(deployments, waiting, tuple(problems))


@dataclass(frozen=True, slots=True)
class _Names:
    """The public names that an entry got besides its own."""

    aliases: tuple[str, ...]
    adapters: tuple[str, ...]


def _settle_names(orders: Mapping[str, Order]) -> tuple[dict[str, _Names], list[Problem]]:
    """Each public name belongs to one entry: its own key first, then the others in the order of the files."""
    owner = {uid: uid for uid in orders}
    problems: list[Problem] = []
    settled: dict[str, _Names] = {}

    def claim(order: Order, key: str, names: Sequence[str]) -> tuple[str, ...]:
        mine: list[str] = []
        for name in names:
            if owner.setdefault(name, order.uid) != order.uid:
                message = f"the name {name!r} already belongs to {owner[name]!r}; {order.uid!r} serves without it"
                problems.append(Problem(order.path, 0, 0, f"models.{order.uid}.{key}", message, Severity.ERROR))
            elif name != order.uid and name not in mine:
                mine.append(name)
        return tuple(mine)

    for uid, order in orders.items():
        aliases = claim(order, "aliases", order.entry.aliases)
        adapters = claim(order, "lora", [each.name for each in order.entry.lora if each.name not in aliases])
        settled[uid] = _Names(aliases, adapters)
    return settled, problems


def _resolve_one(
    order: Order, registrations: Mapping[tuple[str, str], Registration], means: Means, names: _Names
) -> Deployment | Waiting:
    found = find_registration(order, registrations)
    if isinstance(found, Waiting):
        return found
    exposure = Exposure(found.type, names.aliases, order.entry.request_limit)
    outcome = _engage(order, found, means)
    if isinstance(outcome, Choice):
        return _deployment(order, found, outcome, means.gates, names)
    return replace(outcome, exposure=exposure)


def _engage(order: Order, found: Registration, means: Means) -> Choice | Waiting:
    """The engine and the weights for an entry, once nothing speaks against starting them."""
    specs = select_specs(found.definition, order.entry)
    if not specs:
        return Waiting(order.uid, Reason.NO_SPEC, _no_spec(found, order.entry), order)
    current = means.chosen_before(order, found)
    choice = choose(found.definition, specs, order.entry.engine, means.engines, means.gates, current)
    if isinstance(choice, str):
        return Waiting(order.uid, Reason.NO_ENGINE, choice, order)
    fault = _entry_fault(order.entry, choice)
    if fault is not None:
        reason, place, sentence = fault
        return Waiting(order.uid, reason, sentence, order, place=place)
    trouble = weights_trouble(found.definition, choice, order.entry.path or choice.spec.get("model_uri"), means.look)
    trouble = trouble or _adapter_trouble(order.entry, means.look)
    if trouble is not None:
        return Waiting(order.uid, *trouble, order)
    return choice if choice.engine.installed else _unprepared(order, choice.engine)


def _entry_fault(entry: Entry, choice: Choice) -> tuple[Reason, tuple[str | int, ...], str] | None:
    """What in an entry the chosen engine cannot do, and where it stands."""
    faults = option_faults(entry.options, choice.engine.manifest.options)
    if faults:
        place, sentence = faults[0]
        return Reason.BAD_OPTIONS, ("options", *place), sentence
    if entry.lora and not choice.serves.lora:
        return Reason.BAD_OPTIONS, ("lora",), f"{choice.engine.manifest.title} takes no LoRA adapters for such a model"
    uneven = _uneven_cards(entry)
    return (Reason.NO_GPU, ("gpus",), uneven) if uneven else None


def _unprepared(order: Order, engine: Engine) -> Waiting:
    reason = Reason.NO_ENVIRONMENT if engine.readiness is Readiness.FAILED else Reason.PREPARING
    return Waiting(order.uid, reason, f"{engine.manifest.name}: {engine.missing}", order, needs=engine.environment)


def _adapter_trouble(entry: Entry, look: Look) -> tuple[Reason, str] | None:
    for adapter in entry.lora:
        path = path_of(adapter.path)
        if not look(path, "").kind:
            return Reason.NO_WEIGHTS, f"the adapter {adapter.name!r} is not there yet: {path}"
    return None


def _uneven_cards(entry: Entry) -> str:
    """Why cards that are named cannot be divided evenly over the replicas; empty where they can."""
    if not isinstance(entry.gpus, list) or not entry.replicas or not len(entry.gpus) % entry.replicas:
        return ""
    cards = "1 GPU" if len(entry.gpus) == 1 else f"{len(entry.gpus)} GPUs"
    return f"gpus names {cards} for {entry.replicas} replicas; name as many for each of them"


def find_registration(order: Order, registrations: Mapping[tuple[str, str], Registration]) -> Registration | Waiting:
    """The registration that an entry names, or why there is not exactly one."""
    name = order.entry.model or order.uid
    wanted = [order.entry.type] if order.entry.type else sorted(KINDS)
    types = [kind for kind in wanted if (kind, name) in registrations]
    found = [registrations[(kind, name)] for kind in types]
    if len(found) == 1:
        return found[0]
    if found:
        sentence = f"{name!r} is registered as {' and as '.join(types)}; add the key type to say which"
        return Waiting(order.uid, Reason.AMBIGUOUS_TYPE, sentence, order)
    kind = f"{order.entry.type} " if order.entry.type else ""
    sentence = f"no {kind}definition is called {name!r}; put one into models.d"
    return Waiting(order.uid, Reason.NO_DEFINITION, sentence, order, keep=False)


def _no_spec(registration: Registration, entry: Entry) -> str:
    wanted = {"format": entry.format, "size": entry.size, "quantization": entry.quantization}
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items() if value is not None)
    return f"{registration.name!r} has no spec with {asked}; see {registration.path}"


def weights_trouble(
    definition: Mapping[str, Any], choice: Choice, uri: str | None, look: Look
) -> tuple[Reason, str] | None:
    """Why the weights of a choice cannot be loaded as they are; None where nothing speaks against it."""
    if choice.serves.weights == "none":
        return None
    if not uri:
        place = f"{choice.spec.get('model_hub')}: {choice.spec.get('model_id')}"
        return (
            Reason.NEEDS_DOWNLOAD,
            f"its weights are on a hub ({place}); downloads are not supported yet, give model_uri",
        )
    path = path_of(uri)
    facts = look(path, str(choice.spec["model_format"]))
    if facts.trouble:
        return Reason.BAD_WEIGHTS, facts.trouble
    if not facts.kind:
        return Reason.NO_WEIGHTS, f"its weights are not there yet: {path}"
    if choice.serves.weights not in {"any", facts.kind}:
        return (
            Reason.BAD_WEIGHTS,
            f"{path} is a {facts.kind}; {choice.engine.manifest.title} needs a {choice.serves.weights}",
        )
    return template_trouble(definition, path, facts)


def template_trouble(definition: Mapping[str, Any], path: str, facts: Weights) -> tuple[Reason, str] | None:
    """A chat model needs a template, of its own or of its weights."""
    chats = "chat" in (definition.get("model_ability") or ())
    if (
        definition["model_type"] == "LLM"
        and chats
        and not definition.get("chat_template")
        and facts.chat_template is False
    ):
        return (
            Reason.BAD_WEIGHTS,
            f"it chats, but neither the definition nor {path} has a chat template; add chat_template",
        )
    return None


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


def _deployment(order: Order, registration: Registration, choice: Choice, gates: Gates, names: _Names) -> Deployment:
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
        remote_code=any(fnmatchcase(registration.name, pattern) for pattern in gates.remote_code),
        launcher_dirs=gates.launcher_dirs if registration.type == "flexible" else (),
    )


def _cards(entry: Entry) -> int:
    """GPUs of each replica; 0: none were asked for."""
    if isinstance(entry.gpus, list):
        return len(entry.gpus) // max(entry.replicas, 1)
    return entry.gpus if isinstance(entry.gpus, int) else 0


def _wish(entry: Entry) -> Wish:
    if isinstance(entry.gpus, list):
        return Wish(indices=tuple(entry.gpus), count=len(entry.gpus))
    return Wish(_cards(entry))


def _exposure(entry: Entry, registration: Registration, choice: Choice, launch: Launch, names: _Names) -> Exposure:
    manifest, definition = choice.engine.manifest, launch.definition
    defaults: dict[str, Any] = {key: definition[key] for key in manifest.request_defaults if definition.get(key)}
    adapters: dict[str, Mapping[str, Any]] = {
        each["name"]: _selecting(manifest.adapters or {}, index)
        for index, each in enumerate(launch.lora)
        if each["name"] in names.adapters
    }
    return Exposure(registration.type, names.aliases, entry.request_limit, defaults, adapters)


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

"""Registrations x deploy entries x engines -> what should run, or why it cannot yet.

Each entry is judged for itself: what is wrong with one never touches another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xserve.core.definition import KINDS, LlmSpec
from xserve.core.deploy import Entry
from xserve.core.engines import Choice, Engine, choose, select_specs
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


@dataclass(frozen=True, slots=True)
class Desired:
    """All of it."""

    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def resolve(
    registrations: Mapping[tuple[str, str], Registration],
    orders: Mapping[str, Order],
    engines: Sequence[Engine],
    look: Look,
) -> Desired:
    """What should run. Aliases that are taken are dropped with a problem; everything else waits with a reason."""
    aliases, problems = _settle_aliases(orders)
    deployments: dict[str, Deployment] = {}
    waiting: dict[str, Waiting] = {}
    for uid, order in orders.items():
        outcome = _resolve_one(order, registrations, engines, look, aliases[uid])
        if isinstance(outcome, Deployment):
            deployments[uid] = outcome
        else:
            waiting[uid] = outcome
    return Desired(deployments, waiting, tuple(problems))


def _settle_aliases(orders: Mapping[str, Order]) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Each public name belongs to one entry: its own key first, then aliases in the order of the files."""
    owner = {uid: uid for uid in orders}
    problems: list[Problem] = []
    settled: dict[str, tuple[str, ...]] = {}
    for uid, order in orders.items():
        mine = []
        for alias in order.entry.aliases:
            if owner.setdefault(alias, uid) == uid:
                if alias != uid and alias not in mine:
                    mine.append(alias)
                continue
            message = f"the alias {alias!r} already belongs to {owner[alias]!r}; {uid!r} serves without it"
            problems.append(Problem(order.path, 0, 0, f"models.{uid}.aliases", message, Severity.ERROR))
        settled[uid] = tuple(mine)
    return settled, problems


def _resolve_one(
    order: Order,
    registrations: Mapping[tuple[str, str], Registration],
    engines: Sequence[Engine],
    look: Look,
    aliases: tuple[str, ...],
) -> Deployment | Waiting:
    found = find_registration(order, registrations)
    if isinstance(found, Waiting):
        return found
    exposure = Exposure(found.type, aliases, order.entry.request_limit)
    specs = select_specs(found.definition, order.entry)
    if not specs:
        return Waiting(order.uid, Reason.NO_SPEC, _no_spec(found, order.entry), order, exposure=exposure)
    choice = choose(found.definition, specs, order.entry.engine, engines)
    if isinstance(choice, str):
        return Waiting(order.uid, Reason.NO_ENGINE, choice, order, exposure=exposure)
    faults = option_faults(order.entry.options, choice.engine.manifest.options)
    if faults:
        place, sentence = faults[0]
        return Waiting(order.uid, Reason.BAD_OPTIONS, sentence, order, exposure=exposure, place=("options", *place))
    weights = order.entry.path or choice.spec.get("model_uri")
    trouble = weights_trouble(found.definition, choice, weights, look)
    if trouble is not None:
        return Waiting(order.uid, *trouble, order, exposure=exposure)
    uneven = _uneven_cards(order.entry)
    if uneven:
        return Waiting(order.uid, Reason.NO_GPU, uneven, order, exposure=exposure, place=("gpus",))
    path = path_of(weights) if weights else ""
    return _deployment(order, found, choice, path, aliases)


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


def _deployment(
    order: Order, registration: Registration, choice: Choice, weights: str, aliases: tuple[str, ...]
) -> Deployment:
    manifest, entry, spec = choice.engine.manifest, order.entry, choice.spec
    definition = acting(registration.definition, spec)
    launch = Launch(
        uid=order.uid,
        engine=manifest.name,
        model_type=registration.type,
        model_name=registration.name,
        format=str(spec["model_format"]),
        size=str(spec.get("model_size_in_billions") or ""),
        quantization=str(spec["quantization"]),
        weights=weights,
        definition=definition,
        options=entry.options,
        env={**manifest.env, **entry.env},
    )
    gpus = entry.gpus
    wish = (
        Wish(indices=tuple(gpus), count=len(gpus))
        if isinstance(gpus, list)
        else Wish(gpus if isinstance(gpus, int) else 0)
    )
    defaults: dict[str, Any] = {key: definition[key] for key in manifest.request_defaults if definition.get(key)}
    exposure = Exposure(registration.type, aliases, entry.request_limit, defaults)
    return Deployment(
        uid=order.uid,
        launch=launch,
        revision=launch.digest(),
        command=_command(choice, launch),
        replicas=entry.replicas,
        wish=wish,
        exposure=exposure,
        order=order,
        registration=registration,
        never_start=manifest.never_start,
    )


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

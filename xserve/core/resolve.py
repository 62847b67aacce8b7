"""Registrations x deploy entries x engines -> what should run, or why it cannot yet.

Each entry is judged for itself: what is wrong with one never touches another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from xserve.core.compose import compose
from xserve.core.definition import KINDS
from xserve.core.deploy import Entry
from xserve.core.desired import Deployment, Desired, Look, Means, Names, Order, Registration, Waiting, Weights
from xserve.core.engines import Choice, Engine, Suits, choose, find_engine, select_specs
from xserve.core.environment import Readiness
from xserve.core.exposure import Exposure
from xserve.core.manifest import Serves
from xserve.core.options import option_faults
from xserve.core.problems import Problem, Severity
from xserve.core.reasons import Reason
from xserve.core.text import path_of


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


def _settle_names(orders: Mapping[str, Order]) -> tuple[dict[str, Names], list[Problem]]:
    """Each public name belongs to one entry: its own key first, then the others in the order of the files."""
    owner = {uid: uid for uid in orders}
    problems: list[Problem] = []
    settled: dict[str, Names] = {}

    def claim(order: Order, key: str, names: Sequence[str], other: Collection[str] = ()) -> tuple[str, ...]:
        """`other`: names of its own that mean something else."""
        mine: list[str] = []
        for name in names:
            if owner.setdefault(name, order.uid) != order.uid or name in other:
                message = f"the name {name!r} already belongs to {owner[name]!r}; {order.uid!r} serves without it"
                problems.append(Problem(order.path, 0, 0, f"models.{order.uid}.{key}", message, Severity.ERROR))
            elif name != order.uid and name not in mine:
                mine.append(name)
        return tuple(mine)

    for uid, order in orders.items():
        aliases = claim(order, "aliases", order.entry.aliases)
        adapters = claim(order, "lora", [each.name for each in order.entry.lora], {uid, *aliases})
        settled[uid] = Names(aliases, adapters)
    return settled, problems


def _resolve_one(
    order: Order, registrations: Mapping[tuple[str, str], Registration], means: Means, names: Names
) -> Deployment | Waiting:
    found = find_registration(order, registrations)
    if isinstance(found, Waiting):
        return found
    exposure = Exposure(found.type, names.aliases, order.entry.request_limit)
    outcome = _engage(order, found, means)
    if isinstance(outcome, Choice):
        return compose(order, found, outcome, means.gates, names)
    return replace(outcome, exposure=exposure)


def _engage(order: Order, found: Registration, means: Means) -> Choice | Waiting:
    """The engine and the weights for an entry, once nothing speaks against starting them."""
    specs = select_specs(found.definition, order.entry)
    if not specs:
        return Waiting(order.uid, Reason.NO_SPEC, _no_spec(found, order.entry), order)
    current = means.chosen_before(order, found) or _preferred(found.definition, means.engines)
    suits = suiting(means.look, order.entry.path)
    choice = choose(
        found.definition,
        specs,
        order.entry.engine,
        means.engines,
        gates=means.gates,
        suits=suits,
        current=current,
    )
    if isinstance(choice, str):
        return Waiting(order.uid, Reason.NO_ENGINE, choice, order, place=("engine",) if order.entry.engine else ())
    fault = _entry_fault(order.entry, choice)
    if fault is not None:
        reason, place, sentence = fault
        return Waiting(order.uid, reason, sentence, order, place=place)
    trouble = weights_trouble(found.definition, choice, order.entry.path or choice.spec.get("model_uri"), means.look)
    trouble = trouble or _adapter_trouble(order.entry, means.look)
    if trouble is not None:
        return Waiting(order.uid, *trouble, order)
    return choice if choice.engine.installed else _unprepared(order, choice.engine)


def _preferred(definition: Mapping[str, Any], engines: Sequence[Engine]) -> str | None:
    """The engine that a definition itself would have, if there is one of that name."""
    engine = find_engine(str(definition.get("engine") or ""), engines)
    return engine.manifest.name if engine else None


def suiting(look: Look, path: str | None = None) -> Suits:
    """Tells engines by the files that a directory of weights holds. `path`: in place of the specs' own."""

    def suits(spec: Mapping[str, Any], serves: Serves) -> str:
        uri = path or spec.get("model_uri")
        names = look(path_of(uri), str(spec["model_format"])).names if uri and serves.holds else None
        if names is None or any(fnmatchcase(name, pattern) for name in names for pattern in serves.holds):
            return ""
        return f"there is no {' or '.join(serves.holds)} in {path_of(str(uri))}"

    return suits


def _entry_fault(entry: Entry, choice: Choice) -> tuple[Reason, tuple[str | int, ...], str] | None:
    """What in an entry the chosen engine cannot do, and where it stands."""
    faults = option_faults(entry.options, choice.engine.manifest.options)
    if faults:
        place, sentence = faults[0]
        return Reason.BAD_OPTIONS, ("options", *place), sentence
    if entry.lora and not choice.serves.lora:
        return Reason.BAD_OPTIONS, ("lora",), f"{choice.engine.manifest.title} takes no LoRA adapters for such a model"
    if entry.gpu_memory is not None and not choice.engine.manifest.gpu_memory:
        title = choice.engine.manifest.title
        return Reason.BAD_OPTIONS, ("gpu_memory",), f"{title} keeps to no amount of memory; leave it out or say null"
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

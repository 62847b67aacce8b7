"""Small houses for `resolve`: registrations, entries and engines with every irrelevant thing filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xserve.core.deploy import Entry
from xserve.core.desired import Deployment, Desired, Means, Order, Registration, Waiting, Weights
from xserve.core.engines import Engine, Gates
from xserve.core.manifest import Manifest
from xserve.core.resolve import resolve

from .samples import accepted, template

THERE = Weights("directory", chat_template=True)
TEMPLATE = "{{ messages }}"
NO_GATES = Gates()


def engine(name: str = "native", *, installed: bool = True, **manifest: Any) -> Engine:
    """An engine that serves LLMs from any weights."""
    filled = {
        "name": name,
        "title": name,
        "description": "for tests",
        "serves": [{"type": "LLM", "formats": ["pytorch"]}],
        "backends": [{"name": "b", "install": f"pip install {name}"}],
        "command": ["{python}", "{folder}", "--launch", "{launch}", "--backend={backend}", "{backend}"],
        **manifest,
    }
    return Engine(Manifest.model_validate(filled), f"/engines/{name}", "b" if installed else None, "/bin/python")


def registration(name: str = "llm", /, **changes: Any) -> Registration:
    """One of the templates, registered under the name of its file."""
    value = accepted(template(name, **{"model_name": name, **changes}))
    return Registration(
        value["model_type"], value["model_name"], value, "admin", f"models.d/{name}.json", "0123456789abcdef"
    )


def llm(*specs: Mapping[str, Any], **changes: Any) -> Registration:
    """An LLM with these specs; each is the template's own with some keys changed."""
    base = template("llm")["model_specs"][0]
    return registration("llm", model_specs=[{**base, **spec} for spec in specs or ({},)], **changes)


def order(uid: str = "chat", /, **entry: Any) -> Order:
    """A deploy entry for the registration `llm`, unless it says otherwise."""
    return Order(uid, Entry(**{"model": "llm", **entry}), "admin", "deploy.yaml", "fedcba9876543210")


def settle(
    orders: Sequence[Order],
    registrations: Sequence[Registration] | None = None,
    engines: Sequence[Engine] | None = None,
    weights: Weights = THERE,
    gates: Gates = NO_GATES,
    before: Mapping[str, Deployment] | None = None,
) -> Desired:
    """What should run, where every path holds the same weights."""
    known = [llm()] if registrations is None else registrations
    return resolve(
        {(each.type, each.name): each for each in known},
        {each.uid: each for each in orders},
        Means([engine()] if engines is None else engines, lambda path, format_: weights, gates, before or {}),
    )


def deployed(*registrations: Registration, engines: Sequence[Engine] | None = None, **entry: Any) -> Deployment:
    """The one deployment that must come of it."""
    found = settle([order(**entry)], registrations or None, engines)
    assert not found.waiting, found.waiting
    return found.deployments["chat"]


def waits(
    *registrations: Registration,
    engines: Sequence[Engine] | None = None,
    weights: Weights = THERE,
    **entry: Any,
) -> Waiting:
    """The one entry that must wait."""
    found = settle([order(**entry)], registrations or None, engines, weights)
    assert not found.deployments
    return found.waiting["chat"]

"""Definitions over the API, in Xinference's shapes: register, list, get, unregister."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from xserve.core.desired import Registration
from xserve.core.engines import specs_of
from xserve.core.modeltypes import MODEL_TYPES
from xserve.http.call import Call, Plain
from xserve.http.errors import ApiError

_ONLY_LISTED = frozenset({"video", "world"})  # types that Xinference's clients ask about and that have no definitions


class RegisterBody(BaseModel):
    """A definition to register."""

    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(description="the definition: a JSON (or YAML) document, written as text")
    persist: bool = Field(False, description="whether it outlives a restart of the daemon")
    worker_ip: str | None = Field(None, description="ignored on one machine")


class RegistrationsQuery(BaseModel):
    """How much of each definition."""

    detailed: bool = Field(False, description="whole definitions in place of names")


class RegistrationItem(BaseModel):
    """A definition; with `detailed` all of it."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_name: str
    is_builtin: bool


async def register(call: Call[RegisterBody, None]) -> None:
    """Put a definition in force. Refused where the name is taken or the definition is faulty."""
    model_type = registrable(call.part("type"))
    await call.control.register(model_type, call.body.model, persist=call.body.persist)


async def list_registrations(call: Call[None, RegistrationsQuery]) -> list[dict[str, Any]]:
    """The visible definitions of a type, sorted by name without regard to case."""
    model_type = call.part("type")
    if model_type in _ONLY_LISTED:
        return []
    found = call.control.registrations(registrable(model_type))
    found.sort(key=lambda each: (each.name.lower(), each.name))
    return [_detailed(each) if call.query.detailed else _brief(each) for each in found]


async def get_registration(call: Plain) -> dict[str, Any]:
    """One definition, defaults filled in. Raises ApiError 400 for an unknown one."""
    name = call.part("name")
    found = call.control.registration(registrable(call.part("type")), name)
    if found is None:
        raise ApiError(400, f"Model {name} not found", code="model_not_found")
    return {**found.definition, **_brief(found)}


async def unregister(call: Plain) -> None:
    """Remove a definition; an unknown name is no fault. Refused where a file of the admin layer owns it."""
    await call.control.unregister(registrable(call.part("type")), call.part("name"))


def registrable(model_type: str) -> str:
    """The type, where there are definitions of it. Raises ApiError 400."""
    if model_type not in MODEL_TYPES:
        raise ApiError(400, f"Unsupported model type: {model_type}", code="unsupported_model_type")
    return model_type


def _brief(registration: Registration) -> dict[str, Any]:
    return {"model_name": registration.name, "is_builtin": registration.layer == "builtin"}


def _detailed(registration: Registration) -> dict[str, Any]:
    """The definition with the facts that Xinference adds to it."""
    specs = [{**spec, "cache_status": _is_local(spec)} for spec in specs_of(registration.definition)]
    hubs = sorted({str(spec["model_hub"]) for spec in specs if spec.get("model_id") and spec.get("model_hub")})
    return {**registration.definition, **_brief(registration), "model_specs": specs, "download_hubs": hubs}


def _is_local(spec: Mapping[str, Any]) -> bool:
    """Whether nothing has to be downloaded for it."""
    return bool(spec.get("model_uri"))

"""The models that are served: listed and described for OpenAI's and Xinference's clients alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from xserve.core.views import ModelView
from xserve.http.call import Call, Plain
from xserve.http.control import Control
from xserve.http.describe import as_item
from xserve.http.errors import ApiError
from xserve.http.health import require_ready


class ModelItem(BaseModel):
    """A model; further members describe it as Xinference does, by its type."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    replica: int
    model_type: str
    model_name: str
    parent: str | None = Field(None, description="of a LoRA adapter, which is a name to ask for: the model beneath")


class ModelList(BaseModel):
    """The models that take requests."""

    object: Literal["list"] = "list"
    data: list[ModelItem]


class ModelDescription(ModelItem):
    """One model."""

    n_worker: int


async def list_models(call: Plain) -> dict[str, Any]:
    """Those that take requests, by public name."""
    control = call.control
    items: list[dict[str, Any]] = []
    for model in control.status().models:
        if model.ready > 0:
            item = as_item(control, model)
            items += [item, *(_as_adapter(item, name) for name in _adapters(control, model.uid))]
    return {"object": "list", "data": items}


async def describe_model(call: Plain) -> dict[str, Any]:
    """One model by public name, alias or adapter. Raises ApiError 400 for an unknown one, 503 while it cannot
    answer."""
    control, name = call.control, call.part("uid")
    parent = _parent(control, name)
    model = find_model(call, parent or name)
    require_ready(model)
    item = {**as_item(control, model), "n_worker": 1}
    return _as_adapter(item, name) if parent else item


def _adapters(control: Control, uid: str) -> Iterable[str]:
    deployment = control.deployment(uid)
    return deployment.exposure.adapters if deployment else ()


def _parent(control: Control, name: str) -> str | None:
    """The deployment of an adapter; None for a name that is none."""
    if control.model(name) is not None:
        return None
    return next((model.uid for model in control.status().models if name in _adapters(control, model.uid)), None)


def _as_adapter(item: dict[str, Any], name: str) -> dict[str, Any]:
    """The item of a deployment's adapter, as vLLM's server shows it."""
    return {**item, "id": name, "parent": item["id"]}


def find_model(call: Call[Any, Any], name: str) -> ModelView:
    """A deployment by public name or alias. Raises ApiError 400, as Xinference does for an unknown one."""
    model = call.control.model(name)
    if model is None or model.state == "stopping":  # what is left of it only finishes what it began
        message = f"Model not found in the model list, uid: {name}"
        raise ApiError(400, message, code="model_not_found", param="model")
    return model

"""The models that are served: listed and described for OpenAI's and Xinference's clients alike."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from xserve.core.views import ModelView
from xserve.http.call import Call, Plain
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
    serving = [model for model in control.status().models if model.ready > 0]
    return {"object": "list", "data": [as_item(control, model) for model in serving]}


async def describe_model(call: Plain) -> dict[str, Any]:
    """One model by public name or alias. Raises ApiError 400 for an unknown one, 503 while it cannot answer."""
    model = find_model(call, call.part("uid"))
    require_ready(model)
    return {**as_item(call.control, model), "n_worker": 1}


def find_model(call: Call[Any, Any], name: str) -> ModelView:
    """A deployment by public name or alias. Raises ApiError 400, as Xinference does for an unknown one."""
    model = call.control.model(name)
    if model is None or model.state == "stopping":  # what is left of it only finishes what it began
        message = f"Model not found in the model list, uid: {name}"
        raise ApiError(400, message, code="model_not_found", param="model")
    return model

"""A deployment in Xinference's words: the fields that its clients and third parties read, per model type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xserve.core.desired import Deployment, Registration
from xserve.core.engines import specs_of
from xserve.core.launch import Launch
from xserve.core.views import ModelView
from xserve.http.control import Control

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the fields of a type are made of."""

    definition: Mapping[str, Any]
    spec: Mapping[str, Any]  # the set of weights that is served
    engine: str  # its name for people


def describe(control: Control, model: ModelView) -> Fields:
    """All description fields of a deployment, `None` where a fact is not known."""
    deployment = control.deployment(model.uid)
    registration = _registration(control, model, deployment)
    definition = registration.definition if registration else {}
    launch = deployment.launch if deployment else None
    facts = _Facts(definition, _spec(definition, launch), _title(control, model.engine))
    return {**_common(model), **_BY_TYPE.get(model.model_type, _nothing)(facts)}


def as_item(control: Control, model: ModelView) -> Fields:
    """A deployment as one item of the list of models, in the shape of OpenAI and Xinference at once."""
    head = {"id": model.uid, "object": "model", "created": 0, "owned_by": "xserve", "replica": model.replicas}
    return {**head, **describe(control, model)}


def _registration(control: Control, model: ModelView, deployment: Deployment | None) -> Registration | None:
    if deployment is not None:
        return deployment.registration
    return control.registration(model.model_type, model.model)


def _spec(definition: Mapping[str, Any], launch: Launch | None) -> Mapping[str, Any]:
    """The set of weights that was launched; without a launch the first one."""
    if not definition:
        return {}
    specs = specs_of(definition)
    wanted = (launch.format, launch.size, launch.quantization) if launch else None
    return next((spec for spec in specs if _key(spec) == wanted), specs[0])


def _key(spec: Mapping[str, Any]) -> tuple[str, str, str]:
    return (str(spec["model_format"]), str(spec.get("model_size_in_billions") or ""), str(spec["quantization"]))


def _title(control: Control, name: str) -> str:
    return next((engine.title for engine in control.engines() if engine.name == name), name)


def _common(model: ModelView) -> Fields:
    gpus = sorted({gpu for each in model.instances for gpu in each.gpus})
    return {
        "model_type": model.model_type,
        "model_name": model.model,
        "address": "localhost",
        "accelerators": [str(gpu) for gpu in gpus],
    }


def _llm(facts: _Facts) -> Fields:
    definition, spec = facts.definition, facts.spec
    return {
        **_weights(facts),
        "model_lang": definition.get("model_lang"),
        "model_ability": definition.get("model_ability"),
        "model_description": definition.get("model_description"),
        "model_size_in_billions": _size(spec.get("model_size_in_billions")),
        "model_family": definition.get("model_family"),
        "multimodal_projector": next(iter(spec.get("multimodal_projectors") or ()), None),
        "model_hub": spec.get("model_hub"),
        "revision": spec.get("model_revision"),
        "context_length": definition.get("context_length"),
        "strict_system_first": False,
    }


def _size(size: Any) -> int | str | None:
    """Whole billions as a number, `0_5` as text."""
    return int(size) if isinstance(size, str) and size.isdecimal() else size


def _embedding(facts: _Facts) -> Fields:
    names = ("dimensions", "max_tokens", "language")
    return {
        **_weights(facts),
        **{name: facts.definition.get(name) for name in names},
        "model_ability": _abilities("embed", facts),
        "model_hub": facts.spec.get("model_hub"),
        "model_revision": facts.spec.get("model_revision"),
    }


def _rerank(facts: _Facts) -> Fields:
    names = ("type", "max_tokens", "language")
    return {
        **_weights(facts),
        **{name: facts.definition.get(name) for name in names},
        "model_ability": _abilities("rerank", facts),
        "model_revision": facts.spec.get("model_revision"),
    }


def _weights(facts: _Facts) -> Fields:
    return {
        "model_engine": facts.engine,
        "model_format": facts.spec.get("model_format"),
        "quantization": facts.spec.get("quantization"),
    }


def _abilities(first: str, facts: _Facts) -> list[str]:
    further = facts.definition.get("model_ability") or ()
    return [first, *(ability for ability in further if ability != first)]


def _image(facts: _Facts) -> Fields:
    names = ("model_family", "model_revision", "model_ability", "controlnet")
    given = {name: facts.definition.get(name) for name in names}
    return {"model_engine": facts.engine, **given, "model_base": facts.definition.get("model_base")}


def _audio(facts: _Facts) -> Fields:
    names = ("model_lang", "model_family", "model_revision", "model_ability", "quantization")
    return {"model_engine": facts.engine, **{name: facts.definition.get(name) for name in names}}


def _flexible(facts: _Facts) -> Fields:
    return {name: facts.definition.get(name) for name in ("launcher", "launcher_args")}


def _nothing(_: _Facts) -> Fields:
    return {}


_BY_TYPE: dict[str, Callable[[_Facts], Fields]] = {
    "LLM": _llm,
    "embedding": _embedding,
    "rerank": _rerank,
    "image": _image,
    "audio": _audio,
    "flexible": _flexible,
}

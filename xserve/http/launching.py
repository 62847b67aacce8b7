"""Launching and terminating over the API: Xinference's request becomes an entry of a deploy file.

What Xinference can do and this version cannot is refused with a sentence; leaving it out silently would serve
something else than was asked for. Members that nobody knows are options of the engine, as there.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from xserve.core.modeltypes import MODEL_TYPES
from xserve.core.text import check_uid
from xserve.http.call import Call, Plain
from xserve.http.errors import ApiError
from xserve.http.models import find_model

_LATER: dict[str, tuple[Any, ...]] = {
    "n_worker": (1,),
    "replica_config": ([],),
    "peft_model_config": ({},),
    "download_hub": ("auto", ""),
    "enable_thinking": (True,),
    "reasoning_content": (False,),
    "enable_virtual_env": (False,),
    "virtual_env_packages": ([],),
    "virtual_env_find_links": ([],),
    "trust_remote_code": (False,),
}
"""Members that are not supported yet -> the values, besides null, that ask for nothing."""
_IGNORED = frozenset({"worker_ip"})  # there is one machine


def _gpus(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        raise ValueError("Currently `n_gpu` only supports `auto`.")
    if isinstance(value, bool | float) or (isinstance(value, int) and value < 1):
        raise ValueError("The parameter `n_gpu` must be greater than 0 and not greater than the number of GPUs.")
    return value


def _uid(value: str | None) -> str | None:
    """Without the spaces around it; an empty one is none."""
    return check_uid(value.strip()) if value and value.strip() else None


class LaunchBody(BaseModel):
    """What to serve, and how. Every member that is not listed is an option of the engine."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_name: str = Field(min_length=1, description="name of the registration")
    model_uid: Annotated[str | None, AfterValidator(_uid)] = Field(
        None, description="public name; none: that of the registration, with a suffix where it is in use"
    )
    model_type: str = Field("LLM", description="LLM, embedding, rerank, image, audio or flexible")
    model_engine: str | None = Field(None, description="none: the best installed one")
    model_format: str | None = None
    model_size_in_billions: StrictInt | StrictStr | None = Field(None, description="`0_5` means 0.5")
    quantization: str | None = None
    replica: Annotated[StrictInt, Field(ge=1)] = 1
    n_gpu: Annotated[str | int | None, BeforeValidator(_gpus)] = Field(
        "auto", description="per replica: `auto`, a count, or null for none"
    )
    gpu_idx: StrictInt | list[StrictInt] | None = Field(None, description="cards, divided evenly over the replicas")
    request_limits: Annotated[StrictInt, Field(ge=0)] | None = Field(
        None, description="concurrent requests per replica, then 429; null or 0: no limit"
    )
    model_path: str | None = Field(None, description="weights to use in place of those that the definition names")
    envs: dict[str, str] | None = Field(
        None, description="environment of the engine; what may be set: `allow_env` in xserve.yaml"
    )
    persist: bool = Field(False, description="whether it outlives a reboot")


class LaunchQuery(BaseModel):
    """How long to stay."""

    wait_ready: bool = Field(True, description="answer when the model is ready; false: at once")


class LaunchView(BaseModel):
    """The public name of what was launched."""

    model_config = ConfigDict(protected_namespaces=())

    model_uid: str


async def launch(call: Call[LaunchBody, LaunchQuery]) -> LaunchView:
    """Deploy a registration. Refused where the name is taken, the entry is faulty or the model failed."""
    body = call.body
    uid = await call.control.launch(
        body.model_uid, entry_of(body), persist=body.persist, wait_ready=call.query.wait_ready
    )
    return LaunchView(model_uid=uid)


async def terminate(call: Plain) -> None:
    """End a deployment. Raises ApiError 400 for an unknown one; refused where a file of the admin layer owns it."""
    uid = call.part("uid")
    model = find_model(call, uid)
    if model.uid != uid:
        raise ApiError(400, f"{uid} is an alias of {model.uid}; terminate that.", code="alias", param="model")
    await call.control.terminate(uid)


def entry_of(body: LaunchBody) -> dict[str, Any]:
    """The entry of a deploy file that a launch asks for. Raises ApiError 400 for what cannot be had."""
    if body.model_type not in MODEL_TYPES:
        message = f"Unsupported model type: {body.model_type}."
        raise ApiError(400, message, code="unsupported_model_type", param="model_type")
    wanted = {
        "model": body.model_name,
        "type": body.model_type,
        "engine": body.model_engine,
        "format": body.model_format,
        "size": _size(body.model_size_in_billions),
        "quantization": body.quantization,
        "replicas": body.replica,
        "gpus": _wanted_gpus(body),
        "request_limit": body.request_limits or None,
        "path": body.model_path or None,
        "env": body.envs or None,
        "options": _options(body) or None,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _size(given: int | str | None) -> str | None:
    """As definitions write it; Xinference's client makes `0.5` of the number 0.5."""
    return None if given is None else str(given).replace(".", "_")


def _wanted_gpus(body: LaunchBody) -> str | int | list[int]:
    if body.gpu_idx is None:
        return "none" if body.n_gpu is None else body.n_gpu
    cards = [body.gpu_idx] if isinstance(body.gpu_idx, int) else body.gpu_idx
    if not cards or len(cards) % body.replica:
        message = f"`gpu_idx` names {len(cards)} cards, which {body.replica} replicas cannot share evenly."
        raise ApiError(400, message, code="invalid_input", param="gpu_idx")
    return cards


def _options(body: LaunchBody) -> dict[str, Any]:
    """The members that are nobody else's."""
    options = {key: value for key, value in (body.model_extra or {}).items() if value is not None}
    for name in _IGNORED | _LATER.keys():
        value = options.pop(name, None)
        if value is not None and name in _LATER and value not in _LATER[name]:
            raise ApiError(400, f"`{name}` is not supported yet.", code="not_supported", param=name)
    return options

"""From a definition to a loaded model: which launcher, with which arguments, and what speaks against it.

Launchers whose names begin with a prefix of `OURS` come with the engine and from nowhere else, so that no folder
can put its own code under a name that needs no permission. All others come from the launch file's folders.
"""

from __future__ import annotations

import importlib
import inspect
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import custom
from xserve_engine.flexible import FlexibleModel, FlexibleModelSpec, WrongInput
from xserve_engine.launch import BAD_DEFINITION, NO_BACKEND, Refusal, Start, require_weights

OURS = ("xserve.launchers.", "xinference.model.flexible.launchers.")
SHIPPED = {  # launcher -> the module here that has it
    "xserve.launchers.transformers": "pipelines",
    "xserve.launchers.sklearn": "estimators",
    "xserve.launchers.onnx": "graphs",
    "xinference.model.flexible.launchers.transformers": "pipelines",
}
DECLINED = {
    "xinference.model.flexible.launchers.yolo": (
        "its library reads weights as pickles, which may run any code. Export the model to ONNX "
        "and name xserve.launchers.onnx"
    ),
    "xinference.model.flexible.launchers.modelscope": (
        "its library fetches models, and code with them, from a hub. Name xserve.launchers.transformers "
        "for weights on disk, or write a launcher of your own"
    ),
    "xinference.model.flexible.launchers.image_process": (
        "its library fetches its weights at the first call. Name xserve.launchers.transformers "
        "with the task image-segmentation, or xserve.launchers.onnx with the weights on disk"
    ),
}
Launcher = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Launched:
    """A loaded model."""

    model: Any  # with `infer`
    signature: inspect.Signature | None  # of `infer`; None: Python cannot tell

    def check(self, args: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Raise `WrongInput` if `infer` does not take such arguments."""
        if self.signature is not None:
            try:
                self.signature.bind(*args, **named)
            except TypeError as error:
                raise WrongInput(f"infer{self.signature} was called wrongly: {error}.") from None


def launch(start: Start) -> Launched:
    """Find the launcher, have it make the model, and load that. Refuses what can never work."""
    if start.weights:
        require_weights(start)
    name = str(start.definition.get("launcher") or "")
    spec = _spec(start, name)
    arguments = {**spec.parser_args(), **start.options.get("arguments", {})}
    try:
        model = _make(find(name, start.launcher_dirs), start.uid, spec, arguments)
        _load(model, name)
    except ModuleNotFoundError as error:
        sentence = f"The launcher {name} needs the package {error.name}, which is not installed."
        raise Refusal(NO_BACKEND, sentence) from error
    return Launched(model, _signature(model.infer))


def find(name: str, folders: Sequence[str]) -> Launcher:
    """The launcher of this dotted path. Refuses one that is declined, unknown, or not in these folders."""
    if name in DECLINED:
        raise Refusal(BAD_DEFINITION, f"The launcher {name} is not offered: {DECLINED[name]}.")
    if name in SHIPPED:
        launcher: Launcher = importlib.import_module(SHIPPED[name]).launcher
        return launcher
    if name.startswith(OURS):
        raise Refusal(BAD_DEFINITION, f"There is no launcher {name}; there are {', '.join(SHIPPED)}.")
    return custom.find(name, folders)


def _spec(start: Start, name: str) -> FlexibleModelSpec:
    return FlexibleModelSpec(
        model_name=start.model_name,
        launcher=name,
        launcher_args=_arguments(start.definition.get("launcher_args")),
        model_uri=start.weights or None,
        model_id=start.definition.get("model_id"),
        model_description=start.definition.get("model_description"),
        gpus=start.gpus,
        remote_code=start.remote_code,
    )


def _arguments(text: str | None) -> str:
    """The definition's launcher_args. Refuses what is not a JSON object."""
    try:
        good = isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        good = False
    if not good:
        raise Refusal(BAD_DEFINITION, f"The definition's launcher_args must be a JSON object as text, not {text!r}.")
    return text or "{}"


def _make(launcher: Launcher, uid: str, spec: FlexibleModelSpec, arguments: Mapping[str, Any]) -> Any:
    """The model that the launcher returns. Arguments that it cannot use are the definition's fault."""
    try:
        model = launcher(model_uid=uid, model_spec=spec, **arguments)
    except (TypeError, ValueError, LookupError) as error:
        traceback.print_exc()
        raise Refusal(BAD_DEFINITION, f"The launcher {spec.launcher} refused its arguments: {error}.") from error
    infer = getattr(model, "infer", None)
    if not callable(infer) or getattr(infer, "__func__", None) is FlexibleModel.infer:
        raise Refusal(BAD_DEFINITION, f"The launcher {spec.launcher} returned a {type(model).__name__} without infer.")
    return model


def _load(model: Any, name: str) -> None:
    load = getattr(model, "load", None)
    if inspect.iscoroutinefunction(load):
        raise Refusal(BAD_DEFINITION, f"The model of {name} has an asynchronous load; it must be a plain function.")
    if load is not None:
        load()


def _signature(infer: Launcher) -> inspect.Signature | None:
    try:
        return inspect.signature(infer)
    except (TypeError, ValueError):  # functions written in C may have none
        return None

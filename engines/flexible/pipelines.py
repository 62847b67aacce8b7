"""The launcher of transformers' pipelines: a task, a folder of weights, and the library does the rest.

All arguments of the launcher go to `transformers.pipeline`, except those that would choose code or another place
for weights. Pipelines open any path and fetch any address that stands where they expect a picture or a sound.
What clients send there is therefore decoded here, before the pipeline sees it (`media`), and tasks whose pictures
and sounds may stand anywhere in their arguments are declined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import media
from xserve_engine.flexible import FlexibleModel, FlexibleModelSpec, WrongInput
from xserve_engine.launch import BAD_DEFINITION, BAD_WEIGHTS, Refusal

IMAGE_TASKS = {
    "depth-estimation",
    "document-question-answering",
    "image-classification",
    "image-feature-extraction",
    "image-segmentation",
    "mask-generation",
    "object-detection",
    "zero-shot-image-classification",
    "zero-shot-object-detection",
}
AUDIO_TASKS = {"audio-classification", "automatic-speech-recognition", "zero-shot-audio-classification"}
ECHO = "mock"  # Xinference's name for a model that answers with its arguments
NOT_YOURS = {"model", "trust_remote_code", "pipeline_class", "code_revision", "token"}
CODE = {"trust_remote_code", "custom_generate"}  # arguments of a call that would load code


def launcher(model_uid: str, model_spec: FlexibleModelSpec, **arguments: Any) -> FlexibleModel:
    """The model for this task; `arguments` are those of `transformers.pipeline`."""
    task = arguments.get("task")
    if task == ECHO:
        return Echo(model_uid, model_spec.model_uri)
    if forbidden := sorted(NOT_YOURS & set(_names(arguments))):
        raise Refusal(BAD_DEFINITION, f"The argument {forbidden[0]} is not for launcher_args to give.")
    if model_spec.model_uri is None:
        raise Refusal(BAD_DEFINITION, "The definition needs a model_uri: the folder with the pipeline's weights.")
    return Pipeline(model_uid, model_spec, _known(task), arguments)


def _known(task: object) -> str:
    """The task by its usual name. Raises `Refusal` for one that is missing, unknown or declined."""
    if not isinstance(task, str):
        raise Refusal(BAD_DEFINITION, "launcher_args must name a task, such as text-classification.")
    from transformers.pipelines import PIPELINE_REGISTRY  # seconds; not before it is needed

    try:
        name, described, _ = PIPELINE_REGISTRY.check_task(task)
    except KeyError as error:
        raise Refusal(BAD_DEFINITION, f"launcher_args name no task that there is: {error.args[0]}") from None
    if described["type"] != "text" and name not in IMAGE_TASKS | AUDIO_TASKS:
        raise Refusal(
            BAD_DEFINITION, f"The task {name} is not offered; define the model as an LLM or write a launcher."
        )
    return str(name)


def _names(value: Any) -> Iterator[str]:
    """The names of all members, at any depth."""
    if isinstance(value, Mapping):
        yield from value
        for item in value.values():
            yield from _names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _names(item)


class Echo(FlexibleModel):
    """Answers with its arguments: for trying out a client."""

    def infer(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The arguments by name."""
        return kwargs


class Pipeline(FlexibleModel):
    """One pipeline."""

    def __init__(self, uid: str, spec: FlexibleModelSpec, task: str, arguments: dict[str, Any]) -> None:
        super().__init__(uid, spec.model_uri, arguments.get("device"), arguments)
        self._task = task
        self._remote_code = spec.remote_code

    def load(self) -> None:
        """Load it. Refuses a folder that holds no such model."""
        from transformers import pipeline

        arguments = {**(self.config or {}), "task": self._task, "trust_remote_code": self._remote_code}
        try:
            self._pipeline = pipeline(model=self.model_path, **arguments)
        except (OSError, ValueError, KeyError) as error:
            raise Refusal(BAD_WEIGHTS, f"{self.model_path} cannot be loaded for {self._task}: {error}") from error

    def infer(self, *args: Any, **kwargs: Any) -> Any:
        """What the pipeline answers to these arguments; pictures and sounds as base64 text or data URLs."""
        if asked := sorted(CODE & set(_names(kwargs))):
            raise WrongInput(f"The argument {asked[0]} is not for a request to give.")
        decode = self._decoder()
        if decode is not None:
            args, kwargs = media.replace(args, kwargs, decode)
        try:
            return self._pipeline(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise WrongInput(f"The pipeline {self._task} cannot use these arguments: {error}") from error

    def _decoder(self) -> media.Decoder | None:
        if self._task in IMAGE_TASKS:
            return media.picture
        if self._task in AUDIO_TASKS:
            return media.Sounds(self._pipeline.feature_extractor.sampling_rate)
        return None

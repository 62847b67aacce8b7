"""What a launcher of a flexible model is written against: its arguments, a base for its model, and one exception.

A launcher is a function, called as `launcher(model_uid=..., model_spec=..., **arguments)`. It returns a model: any
object with `infer`, whose arguments are those that the client sent, and perhaps `load`, called once before the
first. `infer` may be a plain function, a generator, a coroutine or an asynchronous generator. The shapes are
those of Xinference, so that launchers written for it run as they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class WrongInput(ValueError):
    """What the client sent cannot be used. Answered with 400 and this sentence; any other exception is a 500."""


@dataclass(frozen=True, slots=True)
class FlexibleModelSpec:
    """The definition, as a launcher sees it."""

    model_name: str
    launcher: str  # dotted path, as written
    launcher_args: str  # JSON object as text, as written
    model_uri: str | None  # absolute path of the weights; None: the model has none
    model_id: str | None = None
    model_description: str | None = None
    gpus: int = 0  # cards that the model was given; 0: none were asked for
    remote_code: bool = False  # whether code that comes with the weights may run

    def parser_args(self) -> dict[str, Any]:
        """The arguments of the definition."""
        arguments: dict[str, Any] = json.loads(self.launcher_args)
        return arguments


class FlexibleModel:
    """A base for models; a model may as well be any other object with `infer`."""

    def __init__(
        self,
        model_uid: str,
        model_path: str | None,
        device: str | None = None,
        config: dict[str, Any] | None = None,
        *,
        model_family: object = None,
    ) -> None:
        self._model_uid = model_uid
        self._model_path = model_path
        self._device = device
        self._config = config
        self.model_family = model_family

    @property
    def model_uid(self) -> str:
        """The served name."""
        return self._model_uid

    @property
    def model_path(self) -> str | None:
        """Where the weights are."""
        return self._model_path

    @property
    def device(self) -> str | None:
        """What to compute on, in the library's words; None: the library's own choice."""
        return self._device

    @property
    def config(self) -> dict[str, Any] | None:
        """The launcher's arguments, where it kept them."""
        return self._config

    def load(self) -> None:
        """Load the weights. Called once, before health answers."""

    def infer(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one request."""
        raise NotImplementedError(f"{type(self).__name__} has no infer of its own.")

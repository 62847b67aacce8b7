"""One row of the route table. A row without a scope cannot be written: the scope has no default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel

from xserve.core.manifest import ModelType
from xserve.core.modeltypes import MODEL_TYPES
from xserve.http.access import Scope
from xserve.http.call import Handler


@dataclass(frozen=True, slots=True)
class Forward:
    """The handler of an inference route: the request goes to an engine as it is."""

    links: bool = False  # the images of the reply become links where the client wants that


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path."""

    method: Literal["GET", "POST", "DELETE"]
    path: str  # `{name}` stands for one variable part
    scope: Scope
    handler: Handler | Forward
    tag: str
    summary: str
    request: type[BaseModel] | None = None  # of the JSON body
    form: type[BaseModel] | None = None  # of the body as an upload; None: it takes none
    query: type[BaseModel] | None = None
    response: Any = None  # type of the JSON answer; None: the literal `null`
    media: tuple[str, ...] = ("application/json",)  # what it may answer with; only JSON has the `response` type
    status: int = 200  # of success
    unknown: int = 404  # where the thing asked for does not exist

    @property
    def key(self) -> tuple[str, str]:
        """What tells rows apart."""
        return (self.method, self.path)


def types_of(path: str) -> list[ModelType]:
    """The model types that answer an inference path."""
    return [name for name in get_args(ModelType) if path in MODEL_TYPES[name].routes]

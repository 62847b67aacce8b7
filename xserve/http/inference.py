"""What the inference routes take and give, for the OpenAPI document.

Nothing is checked against these models: a request goes to the engine as it is, and the engine says what is
wrong with it. They name the members that every engine of the type knows; engines know more.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Message = dict[str, Any]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class _Request(_Open):
    model: str = Field(description="public name or alias")


class _Generation(_Request):
    stream: bool = Field(False, description="answer with server-sent events, the last one `[DONE]`")
    stream_options: dict[str, Any] | None = Field(None, description="`include_usage`: a last chunk counts tokens")
    max_tokens: int | None = Field(None, description="none: up to the model's limit")
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = Field(None, description="none: those of the definition")


class ChatRequest(_Generation):
    """A conversation to go on with."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = Field(None, description="text, json_object or json_schema")


class CompletionRequest(_Generation):
    """A text to go on with."""

    prompt: str | list[str]
    echo: bool | None = None
    suffix: str | None = None


class EmbeddingRequest(_Request):
    """Texts to make vectors of."""

    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"


class RerankRequest(_Request):
    """Documents to sort by how well they answer a query."""

    query: str
    documents: list[str] | list[dict[str, Any]]
    top_n: int | None = Field(None, description="none: all of them")
    return_documents: bool | None = None


class Usage(_Open):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class _Generated(_Open):
    id: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage | None = None


class ChatCompletion(_Generated):
    """An answer."""

    object: Literal["chat.completion"] = "chat.completion"


class Completion(_Generated):
    """A continuation."""

    object: Literal["text_completion"] = "text_completion"


class Vector(_Open):
    """One input's vector."""

    index: int
    object: Literal["embedding"] = "embedding"
    embedding: list[float] | str


class Embeddings(_Open):
    """Vectors in the order of the inputs."""

    object: Literal["list"] = "list"
    model: str
    data: list[Vector]
    usage: Usage


class Ranked(_Open):
    """One document's place."""

    index: int = Field(description="in the request's documents")
    relevance_score: float
    document: dict[str, Any] | None = None


class Ranking(_Open):
    """Documents, the best first."""

    id: str
    results: list[Ranked]
    meta: dict[str, Any] | None = None

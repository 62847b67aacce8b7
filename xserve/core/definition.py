"""Model definitions: the six kinds of Xinference, as pydantic models.

A definition is accepted as Xinference writes it. Keys that nobody knows are kept and echoed. Where Xinference
accepts something that can only fail at launch, it is an error here, at the line where it was written.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from xserve.core.text import Name, Size, Text, Uri, in_one_sentence

Ability = Literal["embed", "generate", "chat", "tools", "vision", "audio", "omni", "reasoning", "hybrid"]
Format = Literal["pytorch", "gptq", "awq", "fp4", "fp8", "bnb", "ggufv2", "mlx"]
EmbeddingFormat = Literal["pytorch", "ggufv2"]
TextOrTexts = Annotated[str | list[str], in_one_sentence("must be text or a list of texts")]


class Virtualenv(BaseModel):
    """Packages that the model needs beside its engine's own."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    packages: list[Text]
    """Requirement specifiers; may carry Xinference's `#engine#` markers."""
    inherit_pip_config: bool = True
    """Whether the machine's pip configuration counts."""
    index_url: str | None = None
    """Package index in place of the default one; none: the default."""
    extra_index_url: TextOrTexts | None = None
    """Further package indexes; none: no further ones."""
    find_links: TextOrTexts | None = None
    """Folders or pages with packages; none: no such."""
    trusted_host: TextOrTexts | None = None
    """Hosts whose certificates are not checked; none: all are checked."""
    index_strategy: str | None = None
    """uv's index strategy; none: uv's default."""
    no_build_isolation: bool | None = None
    """Build packages in the environment itself; none: isolated."""


class Spec(BaseModel):
    """One set of weights: format, quantisation and where they are."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), defer_build=True)

    model_format: EmbeddingFormat
    """Format of the weights."""
    quantization: Text
    """Quantisation, e.g. `none`, `4-bit`, `Q4_K_M`."""
    model_id: Text | None = None
    """Repository on the hub; none: `model_uri` says where the weights are."""
    model_hub: str | None = "huggingface"
    """Hub that `model_id` belongs to."""
    model_uri: Uri | None = None
    """Absolute path (bare or `file://`): a file for ggufv2, a directory for the others; none: from the hub."""
    model_revision: Text | None = None
    """Revision on the hub; none: its default branch."""
    model_file_name_template: str | None = None
    """ggufv2 on a hub: file name with `{quantization}`; none: `model_uri` names the file."""
    model_file_name_split_template: str | None = None
    """ggufv2 in parts: file name with `{quantization}` and `{part}`; none: one file."""
    quantization_parts: dict[str, list[Text]] | None = None
    """Part names by quantisation; none: one file."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Spec:
        if not self.model_id and not self.model_uri:
            raise ValueError("give model_uri (a path) or model_id (a hub's repository): the weights have no place")
        if self.model_format == "ggufv2" and not self.model_uri and not self.model_file_name_template:
            raise ValueError("ggufv2 from a hub needs model_file_name_template, such as 'x-{quantization}.gguf'")
        return self


class RerankSpec(Spec):
    """Weights of a reranker; the quantisation may be left out."""

    quantization: Text = "none"
    """Quantisation; `none` when left out."""


class LlmSpec(Spec):
    """Weights of an LLM."""

    model_format: Format  # type: ignore[assignment]  # an LLM knows more formats than an embedding
    """Format of the weights."""
    model_size_in_billions: Size
    """Parameters in billions, as text: `7`, `0_5`."""
    activated_size_in_billions: Size | None = None
    """Activated parameters of a mixture of experts, in billions; none: all of them."""
    multimodal_projectors: list[str] | None = None
    """Files of the projector of a ggufv2 vision model; none: not a vision model."""
    draft_model_id: Text | None = None
    """Draft model for speculative decoding; none: no draft."""
    draft_quantizations: list[Text] | None = None
    """Quantisations of the draft; none: no draft."""
    draft_model_revision: Text | None = None
    """Revision of the draft; none: its default branch."""
    draft_model_file_name_template: str | None = None
    """ggufv2 file name of the draft; none: no draft."""
    model_metadata: dict[str, Any] | None = None
    """Facts for cataloguing; not used for serving."""


class Definition(BaseModel):
    """What all kinds have in common."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), defer_build=True)

    version: Literal[2] = 2
    """Version of the schema. Version 1 is converted when it is read."""
    model_name: Name
    """Name of the registration."""
    virtualenv: Virtualenv | None = None
    """Packages beside the engine's own; none: no further ones."""
    cache_config: dict[str, Any] | None = None
    """Arguments for the hub's download; none: the hub's defaults."""
    is_builtin: bool = False
    """Set by whoever lists definitions; what a file says here does not count."""


class LLM(Definition):
    """A language model."""

    context_length: Annotated[int, Field(gt=0)] | None = 2048
    """Tokens of prompt and answer together; none: what the weights say."""
    model_lang: list[Text]
    """Languages, e.g. `en`."""
    model_ability: Annotated[list[Ability], Field(min_length=1)]
    """What it can do."""
    model_description: str | None = None
    """For people; not used for serving."""
    model_family: Text
    """Family, e.g. `qwen2.5-instruct`; a name of your own is fine."""
    model_specs: Annotated[list[LlmSpec], Field(min_length=1)]
    """Sets of weights, best first."""
    chat_template: str | None = None
    """Jinja template; none: the one that the weights carry."""
    stop_token_ids: list[int] | None = None
    """Token ids that end an answer; none: those of the weights."""
    stop: list[str] | None = None
    """Strings that end an answer; none: no such."""
    architectures: list[str] | None = None
    """Architecture names as in config.json; none: read from there."""
    reasoning_start_tag: str | None = None
    """Opens the reasoning part of an answer; none: the model does not mark one."""
    reasoning_end_tag: str | None = None
    """Closes it."""
    tool_parser: str | None = None
    """How tool calls are written; none: the engine finds out."""

    @field_validator("chat_template")
    @classmethod
    def _is_a_template(cls, template: str | None) -> str | None:
        if template is not None and "{{" not in template and "{%" not in template:
            raise ValueError(f"{template[:40]!r} is neither a Jinja template nor the name of a built-in family")
        return template


class Embedding(Definition):
    """An embedding model."""

    dimensions: Annotated[int, Field(gt=0)]
    """Length of a vector."""
    max_tokens: Annotated[int, Field(gt=0)]
    """Tokens of one input."""
    language: list[Text]
    """Languages, e.g. `en`."""
    model_ability: list[str] = []
    """Kinds of input beside text."""
    model_specs: Annotated[list[Spec], Field(min_length=1)]
    """Sets of weights, best first."""


class Rerank(Definition):
    """A reranking model."""

    language: list[Text]
    """Languages, e.g. `en`."""
    model_ability: list[str] = []
    """Kinds of input beside text."""
    type: str = "unknown"
    """`normal`, `LLM-based`, `LLM-based layerwise`; `unknown`: found out by the engine."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens of a pair of query and document; none: what the weights say."""
    model_specs: Annotated[list[RerankSpec], Field(min_length=1)]
    """Sets of weights, best first."""


class _Flat(Definition):
    """A kind whose definition names its weights itself, without specs."""

    model_id: Text | None = None
    """Repository on the hub; none: `model_uri` says where the weights are."""
    model_revision: Text | None = None
    """Revision on the hub; none: its default branch."""
    model_hub: str | None = "huggingface"
    """Hub that `model_id` belongs to."""
    model_uri: Uri | None = None
    """Absolute path of the weights, bare or `file://`; none: from the hub."""


def _has_weights(definition: _Flat) -> _Flat:
    if not definition.model_id and not definition.model_uri:
        raise ValueError("give model_uri (a path) or model_id (a hub's repository): the weights have no place")
    return definition


class Image(_Flat):
    """An image model."""

    model_family: Text
    """Selects the loader, e.g. `stable_diffusion`."""
    model_ability: list[str] | None = None
    """What it can do, e.g. `text2image`; none: found out by the engine."""
    controlnet: list[dict[str, Any]] | None = None
    """Control nets, each like an image definition; none: no such."""
    default_model_config: dict[str, Any] | None = None
    """Arguments for loading; none: the library's."""
    default_generate_config: dict[str, Any] | None = None
    """Arguments for generating; none: the library's."""
    gguf_model_id: Text | None = None
    """Repository with GGUF weights of the transformer; none: no such."""
    gguf_quantizations: list[Text] | None = None
    """Their quantisations; none: no such."""
    gguf_model_file_name_template: str | None = None
    """Their file name with `{quantization}`; none: no such."""
    lightning_model_id: Text | None = None
    """Repository with lightning weights; none: no such."""
    lightning_versions: list[Text] | None = None
    """Their versions; none: no such."""
    lightning_model_file_name_template: str | None = None
    """Their file name; none: no such."""

    _weights = model_validator(mode="after")(_has_weights)


class Audio(_Flat):
    """A speech model, either way."""

    model_family: Text
    """Selects the loader, e.g. `whisper`."""
    multilingual: bool
    """Whether it knows more than one language."""
    language: Text | None = None
    """Its language; none: several, or unknown."""
    model_lang: list[Text] | None = None
    """Its languages; none: unknown."""
    model_ability: list[str] | None = None
    """What it can do, e.g. `text2audio`; none: found out by the engine."""
    default_model_config: dict[str, Any] | None = None
    """Arguments for loading; none: the library's."""
    default_transcription_config: dict[str, Any] | None = None
    """Arguments for transcribing; none: the library's."""
    engine: str | None = None
    """Engine to prefer; none: the best installed one."""
    model_format: str | None = None
    """Format of the weights; none: found out by the engine."""
    quantization: Text | None = None
    """Quantisation; none: as the weights are."""

    _weights = model_validator(mode="after")(_has_weights)


def _is_dotted(path: str) -> str:
    if not all(part.isidentifier() for part in path.split(".")):
        raise ValueError(f"{path!r} is not a dotted Python path, such as package.module.Launcher")
    return path


class Flexible(_Flat):
    """Any model, by a launcher of your own."""

    model_description: str | None = None
    """For people; not used for serving."""
    launcher: Annotated[str, AfterValidator(_is_dotted)]
    """Dotted path of the launcher."""
    launcher_args: str = "{}"
    """JSON object, as text, with arguments for the launcher."""

    @field_validator("launcher_args", mode="before")
    @classmethod
    def _is_json_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError('must be a JSON object written as text, such as "{}"')
        try:
            loaded = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not JSON: {error}") from error
        if not isinstance(loaded, dict):
            raise ValueError('must be a JSON object written as text, such as "{}"')
        return value


KINDS: dict[str, type[Definition]] = {
    "LLM": LLM,
    "embedding": Embedding,
    "rerank": Rerank,
    "image": Image,
    "audio": Audio,
    "flexible": Flexible,
}
"""Model type -> its definition. A new kind is one row here and one in `modeltypes`."""

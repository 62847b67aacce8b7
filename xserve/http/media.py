"""What the routes for images, sound and models of any other kind take and give, for the OpenAPI document.

As with `http.inference`, nothing is checked against these models, and engines know more members than these;
Xinference's client sends further ones as JSON text in the member `kwargs`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

File = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
"""A file of an upload."""


class _Request(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(description="public name or alias")


class _ImageWish(_Request):
    n: int = Field(1, description="how many images")
    size: str | None = Field(None, description="`512x512` or `512*512`, in pixels; none: the model's own")
    response_format: Literal["url", "b64_json"] = Field("url", description="`url`: kept for an hour")
    request_id: str | None = Field(None, description="a name to ask for its progress by")


class ImageRequest(_ImageWish):
    """An image to make of words."""

    prompt: str
    negative_prompt: str | None = None


class ImageForm(_ImageWish):
    """An image to make of another one and words."""

    image: File | list[File]
    prompt: str | None = None
    negative_prompt: str | None = None


class EditForm(ImageForm):
    """An image to change; where a mask is given only there."""

    mask: File | None = None


class InpaintingForm(ImageForm):
    """An image to paint anew where its mask is white."""

    mask_image: File


class OcrForm(_Request):
    """An image to read."""

    image: File


class Image(BaseModel):
    """One image, one way or the other."""

    url: str | None = None
    b64_json: str | None = None


class Images(BaseModel):
    """Images in the order in which they were made."""

    created: int
    data: list[Image]


class TranscriptionForm(_Request):
    """Speech to write down."""

    file: File
    language: str | None = Field(None, description="ISO 639-1; none: found out")
    prompt: str | None = None
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    temperature: float = 0.0
    stream: bool = Field(False, description="answer with server-sent events, where the engine can")


class Transcription(BaseModel):
    """What was said; `verbose_json` has more members, and the other formats are text."""

    model_config = ConfigDict(extra="allow")

    text: str


class SpeechRequest(_Request):
    """A text to speak."""

    input: str
    voice: str | None = Field(None, description="none or empty: the model's first")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = 1.0
    stream: bool = Field(False, description="send the sound while it is made")


class SpeechForm(SpeechRequest):
    """A text to speak in the voice of a recording."""

    prompt_speech: File | None = None
    prompt_latent: File | None = None


class FlexibleRequest(_Request):
    """Arguments of one call; further members are its keyword arguments."""

    args: list[Any] = []

"""The rows of the route table that are answered by engines, by type of model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from xserve.http import inference, links, media, progress
from xserve.http.gallery import MEDIA
from xserve.http.route import Forward, Route

_JSON, _EVENTS = "application/json", "text/event-stream"
_SOUND = ("audio/mpeg", "audio/wav", "audio/flac", "audio/ogg", "audio/aac", "application/octet-stream")


def _row(path: str, summary: str, handler: Forward | None = None, **more: Any) -> Route:
    return Route("POST", path, "infer", handler or Forward(), "inference", summary, **more)


def _image_row(name: str, summary: str, **body: type[BaseModel]) -> Route:
    return _row(f"/v1/images/{name}", summary, Forward(links=True), response=media.Images, **body)


def _listening_row(name: str, summary: str) -> Route:
    kinds = (_JSON, "text/plain", _EVENTS)
    path = f"/v1/audio/{name}"
    return _row(path, summary, form=media.TranscriptionForm, response=media.Transcription, media=kinds)


INFERENCE_ROUTES: tuple[Route, ...] = (
    # LLM
    _row(
        "/v1/chat/completions",
        "Answer a conversation.",
        request=inference.ChatRequest,
        response=inference.ChatCompletion,
        media=(_JSON, _EVENTS),
    ),
    _row(
        "/v1/completions",
        "Go on with a text.",
        request=inference.CompletionRequest,
        response=inference.Completion,
        media=(_JSON, _EVENTS),
    ),
    # embedding and rerank
    _row(
        "/v1/embeddings",
        "Make vectors of texts.",
        request=inference.EmbeddingRequest,
        response=inference.Embeddings,
    ),
    _row("/v1/rerank", "Sort documents by a query.", request=inference.RerankRequest, response=inference.Ranking),
    # image
    _image_row("generations", "Make images of words.", request=media.ImageRequest),
    _image_row("variations", "Make images of an image.", form=media.ImageForm),
    _image_row("edits", "Change an image.", form=media.EditForm),
    _image_row("inpainting", "Paint a part of an image anew.", form=media.InpaintingForm),
    _row("/v1/images/ocr", "Read an image.", form=media.OcrForm, response=Any),
    Route(
        "GET",
        f"{links.PATH}/{{name}}",
        "public",
        links.show,
        "inference",
        "A generated image, for whoever knows its name.",
        media=MEDIA,
    ),
    Route(
        "GET",
        "/v1/requests/{request_id}/progress",
        "infer",
        progress.progress,
        "inference",
        "How far is a request?",
        response=progress.ProgressView,
        unknown=400,
    ),
    # audio
    _listening_row("transcriptions", "Write down what is said."),
    _listening_row("translations", "Write down in English what is said."),
    _row("/v1/audio/speech", "Speak a text.", request=media.SpeechRequest, form=media.SpeechForm, media=_SOUND),
    # flexible
    _row("/v1/flexible/infers", "Call a model of any other kind.", request=media.FlexibleRequest, response=Any),
)

"""What of a request must change before an engine sees it: names that only the gateway knows, and defaults.

An alias becomes the deployment's own name. A LoRA adapter is selected as its engine wants it: by the members
that the deployment lists for it, or by its own name as `model`. Everything else stays as the client wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xserve.http.body import Asked, Body, member, splice
from xserve.http.errors import ApiError
from xserve.http.form import AskedByForm
from xserve.http.traffic import Target


def fit(body: Body, asked: Asked, target: Target) -> Body:
    """The body for the engine: the same bytes unless a top-level member must change. Raises ApiError 400."""
    exposure = target.exposure
    if exposure.refused and not isinstance(asked, AskedByForm):
        _refuse(body, exposure.refused)
    defaults = exposure.request_defaults if exposure.model_type == "LLM" else {}
    changes = {} if asked.model == target.uid else _changes(asked.model, target)
    if not defaults and not changes:
        return body
    if isinstance(asked, AskedByForm):
        return _fit_form(body, asked, changes) if changes else body
    return splice(body, changes, defaults)


def _refuse(body: Body, refused: Mapping[str, str]) -> None:
    """Say no to what the engine would pass over in silence."""
    for name, sentence in refused.items():
        if member(body, name) is not None:
            raise ApiError(400, sentence, code="unsupported_member", param=name)


def _changes(name: str, target: Target) -> Mapping[str, Any]:
    """The members that differ for the engine from what a client says who asks for an alias or adapter."""
    selection = target.exposure.adapters.get(name)
    if selection is None or name in target.exposure.aliases:
        return {"model": target.uid}
    return {**selection, "model": target.uid} if selection else {}


def _fit_form(body: Body, asked: AskedByForm, changes: Mapping[str, Any]) -> Body:
    if len(changes) > 1:
        message = f"The adapter {asked.model} cannot be asked for in a form; send JSON."
        raise ApiError(400, message, code="invalid_body", param="model")
    return asked.form.replace(body, "model", changes["model"])

"""Definitions of version 1, rewritten as version 2. Every `quantizations` entry becomes a spec of its own.

`Origins` remembers where each new spec came from, so that a fault in it is reported where it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]

_SOURCE_KEYS = ("model_id", "model_uri", "model_revision", "model_hub")


@dataclass(frozen=True, slots=True)
class Origins:
    """Maps a place in the rewritten definition to the place in the file."""

    specs: tuple[int, ...] | None = None  # new index -> old index; None: nothing moved
    split: frozenset[int] = frozenset()  # old indices of specs that wrote `quantizations`
    lifted: bool = False  # the only spec was made from top-level keys

    def of(self, path: Path) -> Path:
        """Where `path` of the rewritten definition stands in the file."""
        if len(path) < 2 or path[0] != "model_specs" or not isinstance(path[1], int):
            return path
        if self.lifted:
            return path[2:]
        if self.specs is None or path[1] >= len(self.specs):
            return path
        old, rest = self.specs[path[1]], path[2:]
        if old in self.split:
            rest = tuple("quantizations" if part == "quantization" else part for part in rest)
        return ("model_specs", old, *rest)


def modernise(data: Mapping[str, Any], model_type: str) -> tuple[dict[str, Any], Origins]:
    """A definition of version 1 as version 2. What cannot be rewritten stays, for the validation to name."""
    new = {**data, "version": 2}
    if model_type == "LLM":
        _unpack_prompt_style(new)
    if model_type in {"embedding", "rerank"} and "model_specs" not in new:
        _lift_source(new)
        return new, Origins(lifted=True)
    specs = new.get("model_specs")
    if not isinstance(specs, list):
        return new, Origins()
    expanded = [(row, spec) for row, old in enumerate(specs) for spec in _expand(old)]
    new["model_specs"] = [spec for _, spec in expanded]
    split = frozenset(row for row, old in enumerate(specs) if _names_quantizations(old))
    return new, Origins(tuple(row for row, _ in expanded), split)


def _names_quantizations(spec: Any) -> bool:
    return isinstance(spec, Mapping) and isinstance(spec.get("quantizations"), list) and bool(spec["quantizations"])


def _expand(spec: Any) -> list[Any]:
    """One spec with `quantizations: [a, b]` as two specs with `quantization: a` and `quantization: b`."""
    if not isinstance(spec, Mapping):
        return [spec]
    rest = {key: value for key, value in spec.items() if key != "quantizations"}
    if not _names_quantizations(spec):
        return [rest]
    return [_place({**rest, "quantization": each}) for each in spec["quantizations"]]


def _place(spec: dict[str, Any]) -> dict[str, Any]:
    """Version 1 allowed `{quantization}` inside `model_uri`."""
    uri = spec.get("model_uri")
    if isinstance(uri, str) and "{quantization}" in uri:
        return {**spec, "model_uri": uri.replace("{quantization}", str(spec["quantization"]))}
    return spec


def _lift_source(new: dict[str, Any]) -> None:
    """Version 1 of embedding and rerank named the weights at the top level."""
    source = {key: new.pop(key) for key in _SOURCE_KEYS if key in new}
    new["model_specs"] = [{"model_format": "pytorch", "quantization": "none", **source}]


def _unpack_prompt_style(new: dict[str, Any]) -> None:
    """Version 1 kept stop strings and ids in `prompt_style`; a chat template was not part of it."""
    style = new.get("prompt_style")
    if isinstance(style, Mapping):
        for key in ("stop", "stop_token_ids"):
            if new.get(key) is None and style.get(key) is not None:
                new[key] = style[key]

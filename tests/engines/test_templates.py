"""The kit's rendering of chat templates against transformers' own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ..kit.corpus import ASKED, KIT, SPECIAL, WEATHER, folder
from .interpreters import interpreter

PEER = Path(__file__).parents[1] / "kit" / "peer.py"


@pytest.mark.timeout(600)  # some 1,500 prompts, each rendered often to find out what its template reads
def test_prompts_are_those_of_transformers(tmp_path: Path) -> None:
    """Byte for byte, for every template that it renders, with tools and without, in a form that both are given."""
    python, missing = interpreter("transformers")
    if missing:
        pytest.skip(missing)
    (tmp_path / "asked.json").write_text(json.dumps({"special": SPECIAL, "asked": ASKED, "tool": WEATHER}))
    peer = [python, str(PEER), str(KIT), str(folder()), str(tmp_path / "asked.json")]
    told = subprocess.run(peer, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    counts = json.loads(told.stdout.splitlines()[-1])
    assert counts["different"] == []
    assert counts["same"] > 1_400

"""A request that fails as its token is chosen fails alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .harness import ENGINES
from .interpreters import interpreter


def test_one_requests_fault_spoils_nobody_elses_step() -> None:
    python, lacking = interpreter("transformers")
    if lacking:
        pytest.skip(lacking)
    script = Path(__file__).parent / "failing_row.py"
    command = [python, str(script), str(ENGINES / "_kit"), str(ENGINES / "transformers")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert [told["chosen"][place] for place in (0, 2, 3)] == [2, 3, 2]
    assert told["told"] == "500: The answer failed: the grammar is stuck"

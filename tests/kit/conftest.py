"""The kit of the engines is importable, as it is in an engine's process."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "engines" / "_kit"))

"""The kit's modules, importable as an engine imports them."""

from __future__ import annotations

import sys

from .corpus import KIT

sys.path.append(str(KIT))

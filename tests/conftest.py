"""Hypothesis profiles, chosen by XSERVE_HYPOTHESIS.

`default` draws the same examples every time, so that a red build is red for everybody; `long` looks for new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The machine may be busy: no example is ever judged by its time.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}

settings.register_profile("default", derandomize=True, database=None, max_examples=200, **_CALM)
settings.register_profile("long", max_examples=5000, **_CALM)
settings.load_profile(os.environ.get("XSERVE_HYPOTHESIS", "default"))

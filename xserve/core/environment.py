"""The environment of an engine: pinned packages for an interpreter of its own, named by what is in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum


class Readiness(StrEnum):
    """Whether an engine could be started now."""

    INSTALLED = "installed"  # in the daemon's own interpreter, or in an environment that is whole
    MISSING = "missing"  # not installed, and a person has to do it
    ABSENT = "absent"  # its environment can be made
    MAKING = "making"  # and is being made
    FAILED = "failed"  # and could not be made


@dataclass(frozen=True, slots=True)
class Environment:
    """What an environment holds."""

    engine: str
    backend: str
    packages: tuple[str, ...]  # requirement specifiers
    without: tuple[str, ...]  # packages that these ask for and that are left out
    platform: str  # interpreter and machine, e.g. `cpython-311-x86_64`

    @property
    def name(self) -> str:
        """Its folder: the engine, and 12 hexadecimal digits of SHA-256 over everything that makes it what it is."""
        content = [self.backend, self.packages, self.without, self.platform]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return f"{self.engine}-{digest[:12]}"

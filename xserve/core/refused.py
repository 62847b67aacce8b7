"""A call that is refused, with a sentence for the caller. The surface turns the kind into a status."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Why a call is refused."""

    INVALID = "invalid"  # the caller must change the request: 400
    UNKNOWN = "unknown"  # no such thing: 404, or 400 where Xinference says so
    EXISTS = "exists"  # the name is taken: 400
    OWNED = "owned"  # a file of the admin layer owns it: 409
    BUSY = "busy"  # not now: 503
    FAILED = "failed"  # it was tried and failed: 503
    CANCELLED = "cancelled"  # somebody ended it meanwhile: 499
    NO_SPACE = "no_space"  # cannot be written to disk: 507


class Refused(Exception):
    """A refused call."""

    def __init__(self, kind: Kind, message: str, param: str | None = None) -> None:
        """`param` names the field of the request that is at fault."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param

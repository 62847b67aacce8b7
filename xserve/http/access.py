"""Who may call what: the one place where a caller's scopes are found and a route's scope is enforced.

The daemon listens on loopback without keys and on a unix socket that the file system guards; whoever gets
that far may do everything. Callers with fewer scopes need keys, and would be told apart here.
"""

from __future__ import annotations

from typing import Literal

from starlette.types import Scope as Connection

from xserve.http.errors import ApiError

Scope = Literal["public", "infer", "read", "admin"]
"""`public`: anybody; `infer`: use models; `read`: look at everything; `admin`: change what is served."""

_ALL: frozenset[str] = frozenset({"public", "infer", "read", "admin"})


def scopes_of(connection: Connection) -> frozenset[str]:
    """The scopes that the caller of an ASGI connection holds."""
    return _ALL


def authorise(connection: Connection, needed: Scope) -> None:
    """Let the caller pass. Raises ApiError 403 naming the scope that it lacks."""
    if needed not in scopes_of(connection):
        raise ApiError(403, f"This needs the scope {needed}.", code="missing_scope")

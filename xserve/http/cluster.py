"""What Xinference's clients ask about the cluster before anything else."""

from __future__ import annotations

from pydantic import BaseModel, Field

from xserve.http.call import Plain


class AuthView(BaseModel):
    """Whether calls need a key."""

    auth: bool = Field(description="true: send `Authorization: Bearer`")


async def auth(call: Plain) -> AuthView:
    """There are no keys."""
    return AuthView(auth=False)

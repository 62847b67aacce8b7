"""Daemon settings: `xserve.yaml`. Every duration is written as `500ms`, `30s`, `10m`, `1h`, or in seconds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from xserve.core.text import Folder, Seconds

Pause = Annotated[Seconds, Field(ge=0.01)]
"""A pause that is one."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Restart(_Strict):
    """What happens after a replica ended by itself."""

    initial: Seconds = 1.0
    """Pause before the first restart; it doubles from there."""
    maximum: Seconds = 300.0
    """Longest pause."""
    give_up_after: Annotated[int, Field(ge=1)] = 8
    """Failures in a row after which the deployment is called failed."""
    reset_after: Seconds = 600.0
    """A replica that was ready for so long clears the count."""


class Logs(_Strict):
    """Each replica's log file."""

    max_bytes: Annotated[int, Field(ge=4096)] = 10 * 1024 * 1024
    """Size at which the file is rotated, bytes."""
    keep: Annotated[int, Field(ge=0)] = 3
    """Rotated files kept."""


class Health(_Strict):
    """How readiness and health are found out."""

    interval: Pause = 5.0
    """Between two checks of a ready replica."""
    deadline: Seconds = 5.0
    """For one check."""
    misses: Annotated[int, Field(ge=1)] = 3
    """Checks missed in a row after which the replica is replaced."""
    probe_deadline: Seconds = 60.0
    """For the tiny request that proves a replica ready."""


class Limits(_Strict):
    """What one client may cost."""

    body_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Largest request body, bytes; 413 beyond."""
    header_deadline: Seconds = 10.0
    """For receiving a request's headers."""
    body_deadline: Seconds = 10.0
    """For the next 16 KiB of a request's body."""
    send_deadline: Seconds = 60.0
    """For a client that does not read its answer."""
    keep_alive: Seconds = 75.0
    """An idle connection is closed after this."""


class Environments(_Strict):
    """The environments that engines run in, made by uv from the packages in their manifests."""

    make: bool = True
    """Make one when a deployment needs it. Without, `xserve engines --install NAME` makes it."""
    directory: Folder | None = None
    """Absolute path of the folder that holds them; none: `environments` in the state layer."""


class Settings(_Strict):
    """The daemon's settings. Changes take effect at its next start."""

    version: Literal[1]
    """Version of this format."""
    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback needs `insecure_no_auth`, as there are no keys yet."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9997
    """Port; 0: any free one."""
    uds: str | None = None
    """Path of a unix socket to listen on in place of host and port; none: TCP."""
    insecure_no_auth: bool = False
    """Lets the daemon listen beyond loopback without keys: whoever reaches it may do everything."""
    allowed_hosts: list[str] = []
    """Names besides localhost that clients may put in the Host header."""
    allow_env: list[str] = ["CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "TZ"]
    """Environment variables that launches over the API may set. Others could make an engine load foreign code."""
    allow_remote_code: list[str] = []
    """Gate: patterns of registrations whose weights may bring code that is run, e.g. `jina-*`. `*`: all, also those
    that are registered, or launched with a path of their own, over the API; no other pattern covers these."""
    allow_custom_launchers: list[str] = []
    """Gate: patterns of launchers of flexible models besides those that ship with xserve, e.g. `ours.*`."""
    launcher_dirs: list[Folder] = []
    """Absolute paths of folders in which custom launchers are looked for."""
    watch: bool = True
    """Wake at file events. Without it changes are seen at the next resync, or at `xserve reload`."""
    resync: Pause = 30.0
    """Between two passes over all files when nothing woke the daemon."""
    settle: Seconds = 0.5
    """A file that is written in place must rest so long before it counts."""
    start_timeout: Seconds = 600.0
    """For loading weights; then the replica counts as failed."""
    drain_timeout: Seconds = 60.0
    """For requests in flight when a replica is to go; then they are cut."""
    stop_timeout: Seconds = 90.0
    """For the whole daemon to leave after SIGTERM."""
    max_starting: Annotated[int, Field(ge=1)] = 4
    """Replicas that may load at the same time."""
    engine_dirs: list[Folder] = []
    """Absolute paths of folders with further engines; these go before the ones that ship with xserve."""
    environments: Environments = Field(default_factory=Environments.model_construct)
    """Where engines run."""
    restart: Restart = Field(default_factory=Restart.model_construct)
    """Back-off."""
    logs: Logs = Field(default_factory=Logs.model_construct)
    """Log files of replicas."""
    health: Health = Field(default_factory=Health.model_construct)
    """Readiness and health."""
    limits: Limits = Field(default_factory=Limits.model_construct)
    """Limits on clients."""

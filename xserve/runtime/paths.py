"""Where an instance's files live, and the short private directory for its sockets.

Records and logs go below the run directory. Sockets cannot: the kernel takes 107 bytes of path, and a
configuration directory may be deeper than that.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_SOCKET_PATH = 107
"""Bytes; `sun_path` of unix(7) holds 108 with the final zero."""

_NAME = re.compile(r"[\w@=+-][\w@=+.-]*")


class UnusablePathError(ValueError):
    """A sentence about a path that cannot serve, for the person who chose it."""


@dataclass(frozen=True, slots=True)
class InstancePaths:
    """The files of one instance. Naming them creates nothing."""

    engines: Path  # directory of all instances
    sockets: Path  # private and short, of all instances
    instance: str

    def check(self) -> None:
        """Raises UnusablePathError where the instance's name or a socket's path cannot be used."""
        if not _NAME.fullmatch(self.instance):
            raise UnusablePathError(f"cannot name files after the instance {self.instance!r}")
        check_socket_path(self.socket)
        check_socket_path(self.control)

    @property
    def directory(self) -> Path:
        """Of the instance, private."""
        return self.engines / self.instance

    @property
    def socket(self) -> str:
        """Where the engine listens."""
        return str(self.sockets / f"{self.instance}.sock")

    @property
    def control(self) -> str:
        """Where the shim listens."""
        return str(self.sockets / f"{self.instance}.ctl")

    def all_sockets(self) -> list[Path]:
        """What is there of both, and of what an engine put beside its own (`NAME.*.sock`)."""
        return [path for path in self.sockets.iterdir() if path.name.startswith(f"{self.instance}.")]

    @property
    def launch(self) -> Path:
        """What the engine reads."""
        return self.directory / "launch.json"

    @property
    def spec(self) -> Path:
        """What the shim reads."""
        return self.directory / "spec.json"

    @property
    def log(self) -> Path:
        """What the engine printed."""
        return self.directory / "log"

    @property
    def shim_log(self) -> Path:
        """What the shim printed: empty, unless it has a fault."""
        return self.directory / "shim.log"


def check_socket_path(path: str) -> None:
    """Raises UnusablePathError if the path is too long to be bound."""
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise UnusablePathError(
            f"cannot use the socket path {path}: it has {size} bytes and the kernel takes {MAX_SOCKET_PATH}; "
            "use a shorter name, or point XDG_RUNTIME_DIR or TMPDIR to a shorter directory"
        )


def socket_directory(config_dir: Path, environ: Mapping[str, str]) -> Path:
    """The private directory for the sockets of one configuration directory; made if it is missing.

    Below `XDG_RUNTIME_DIR` if that is ours, else below the temporary directory. Raises UnusablePathError if what
    is there belongs to someone else, is open to others, or cannot be made.
    """
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and _is_private(Path(runtime)):
        parent = Path(runtime) / "xserve"
    else:
        parent = Path(environ.get("TMPDIR") or tempfile.gettempdir()) / f"xserve-{os.geteuid()}"
    name = hashlib.sha256(os.fsencode(config_dir.resolve())).hexdigest()[:12]
    return make_private(make_private(parent) / name)


def make_private(directory: Path) -> Path:
    """Make the directory with mode 0700, or accept the one that is there if it is ours and private."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnusablePathError(f"cannot make the directory {directory}: {error.strerror}") from error
    if not _is_private(directory):
        raise UnusablePathError(
            f"cannot use {directory} for sockets: it must be a directory of this user with mode 0700, not a link"
        )
    return directory


def _is_private(directory: Path) -> bool:
    """Whether it is a directory, not a link to one, that nobody but us may enter."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077

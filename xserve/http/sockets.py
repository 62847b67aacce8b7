"""Binds the sockets that the daemon listens on, and says clearly why it cannot."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

BACKLOG = 2048
LONGEST_PATH = 107
"""Bytes of a unix socket's path (sun_path is 108 with its closing NUL)."""


class BindError(Exception):
    """A socket cannot be bound. The text is a sentence for the operator."""


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises BindError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise BindError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise BindError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    bound.setblocking(False)
    return bound


def bind_unix(path: str, mode: int = 0o600) -> socket.socket:
    """A listening unix socket with these permissions; one that nobody answers on is replaced. Raises BindError."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise BindError(f"cannot listen on {path}: the path is longer than {LONGEST_PATH} bytes")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        os.fchmod(bound.fileno(), mode)  # before bind: the file never exists with wider permissions
        bound.bind(path)
        os.chmod(path, mode)  # fchmod leaves the umask to bind; a group bit may have been lost
        bound.listen(BACKLOG)
    except BindError:
        bound.close()
        raise
    except OSError as error:
        bound.close()
        raise BindError(f"cannot listen on {path}: {error.strerror}") from error
    bound.setblocking(False)
    return bound


def _clear(path: str) -> None:
    """Remove a stale socket. Raises BindError if somebody answers or it is no socket, OSError if it cannot be told."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise BindError(f"cannot listen on {path}: a file that is no socket is in the way")
        if _is_answered(path):
            raise BindError(f"cannot listen on {path}: another process listens there")
        os.unlink(path)


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # its accept queue is full: somebody listens
            return True
        except ConnectionRefusedError:
            return False
        return True

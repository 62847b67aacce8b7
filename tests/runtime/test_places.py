"""Directories, sockets' paths, locks and small files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xserve.runtime.environment import engine_environment
from xserve.runtime.lock import AlreadyLockedError, DirectoryLock
from xserve.runtime.paths import MAX_SOCKET_PATH, InstancePaths, UnusablePathError, check_socket_path, socket_directory
from xserve.runtime.records import explain, read_json, write_json
from xserve.runtime.sweep import run_id


def test_sockets_live_below_the_users_runtime_directory(sockets: Path, tmp_path: Path) -> None:
    made = socket_directory(tmp_path, {"XDG_RUNTIME_DIR": str(sockets)})

    assert made.parent == sockets / "xserve"
    assert made.stat().st_mode & 0o777 == 0o700
    assert socket_directory(tmp_path, {"XDG_RUNTIME_DIR": str(sockets)}) == made
    assert socket_directory(tmp_path / "other", {"XDG_RUNTIME_DIR": str(sockets)}) != made


def test_one_configuration_directory_has_one_socket_directory_however_it_is_spelled(
    sockets: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    environ = {"XDG_RUNTIME_DIR": str(sockets)}

    assert socket_directory(tmp_path / "link", environ) == socket_directory(tmp_path, environ)


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_runtime_directory_open_to_others_is_not_used(sockets: Path, tmp_path: Path, mode: int) -> None:
    (sockets / "open").mkdir()
    (sockets / "open").chmod(mode)
    made = socket_directory(tmp_path, {"XDG_RUNTIME_DIR": str(sockets / "open"), "TMPDIR": str(sockets)})

    assert made.parent == sockets / f"xserve-{os.geteuid()}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of another user")
def test_a_directory_of_another_user_is_refused(sockets: Path, tmp_path: Path) -> None:
    trap = sockets / f"xserve-{os.geteuid()}"
    trap.mkdir(mode=0o700)
    os.chown(trap, 12345, -1)

    with pytest.raises(UnusablePathError, match="must be a directory of this user"):
        socket_directory(tmp_path, {"TMPDIR": str(sockets)})


def test_a_link_and_an_open_directory_in_a_shared_place_are_refused(sockets: Path, tmp_path: Path) -> None:
    """Anybody may prepare a trap in the temporary directory."""
    trap = sockets / f"xserve-{os.geteuid()}"
    (sockets / "elsewhere").mkdir(mode=0o700)
    trap.symlink_to(sockets / "elsewhere")
    with pytest.raises(UnusablePathError, match="not a link"):
        socket_directory(tmp_path, {"TMPDIR": str(sockets)})
    trap.unlink()
    trap.mkdir()
    trap.chmod(0o777)
    with pytest.raises(UnusablePathError, match="mode 0700"):
        socket_directory(tmp_path, {"TMPDIR": str(sockets)})
    trap.rmdir()
    trap.write_text("a file")
    with pytest.raises(UnusablePathError, match="cannot make the directory"):
        socket_directory(tmp_path, {"TMPDIR": str(sockets)})


def test_the_longest_socket_path_is_the_kernels() -> None:
    check_socket_path("/" + "x" * (MAX_SOCKET_PATH - 1))
    with pytest.raises(UnusablePathError, match="108 bytes and the kernel takes 107"):
        check_socket_path("/" + "x" * MAX_SOCKET_PATH)
    with pytest.raises(UnusablePathError, match="109 bytes"):
        check_socket_path("/" + "ü" * 54)


def test_a_second_holder_learns_who_the_first_is(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4194304999 of an earlier holder\n")
    with DirectoryLock(tmp_path), pytest.raises(AlreadyLockedError, match=f"by process {os.getpid()}$") as caught:
        DirectoryLock(tmp_path).acquire()

    assert caught.value.holder == os.getpid()
    with DirectoryLock(tmp_path):
        pass


def test_a_lock_ends_with_its_holder_and_not_before(tmp_path: Path) -> None:
    """Killed with SIGKILL while a child of it lives on: the lock is free, as no child inherits it."""
    code = (
        "import subprocess, sys; from pathlib import Path; from xserve.runtime.lock import DirectoryLock\n"
        "DirectoryLock(Path(sys.argv[1])).acquire()\n"
        "child = subprocess.Popen(['sleep', '100'], stdout=subprocess.DEVNULL, close_fds=False)\n"
        "print(child.pid, flush=True); child.wait()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(AlreadyLockedError, match=f"by process {holder.pid}$"):
            DirectoryLock(tmp_path).acquire()
        holder.kill()
        holder.communicate()
        DirectoryLock(tmp_path).acquire()
    finally:
        os.kill(child, 9)


def test_a_lock_never_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")

    with pytest.raises(OSError, match="Too many levels"):
        DirectoryLock(tmp_path).acquire()
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_full_disk_leaves_the_old_record_whole_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fact.json"
    write_json(str(path), {"old": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(str(path), {"new": 2})

    assert read_json(str(path)) == {"old": 1}
    assert os.listdir(tmp_path) == ["fact.json"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_a_spoilt_record_reads_as_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(content)

    assert read_json(str(tmp_path / "record")) == {}


def test_errors_are_explained_with_the_systems_name() -> None:
    assert explain(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device (ENOSPC)"
    assert explain(ValueError("embedded null byte")) == "embedded null byte"
    assert explain(EOFError()) == "EOFError"


def test_what_is_asked_for_wins_over_what_is_inherited_and_nothing_wins_over_the_mark() -> None:
    made = engine_environment(
        {"PATH": "/bin", "LC_ALL": "C", "HF_TOKEN": "secret", "NOTIFY_SOCKET": "/s"},
        {"PATH": "/opt/bin", "HF_HOME": "/models", "XSERVE_INSTANCE": "forged"},
        "run:one",
    )

    assert made == {
        "PATH": "/opt/bin", "LC_ALL": "C", "HF_HOME": "/models", "PYTHONUNBUFFERED": "1", "SPT_NOENV": "1",
        "XSERVE_INSTANCE": "run:one",
    }  # fmt: skip


def test_a_run_directory_made_anew_or_elsewhere_has_another_identity(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")

    assert run_id(tmp_path / "a") != run_id(tmp_path / "b")
    assert run_id(tmp_path / "a") == run_id(tmp_path / "link")
    first = run_id(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "a").mkdir()
    assert run_id(tmp_path / "a") != first


def test_the_sockets_of_an_instance_are_its_own_and_what_its_engine_put_beside_them(tmp_path: Path) -> None:
    """An engine with a server behind its front leaves a second socket when it is killed."""
    for name in ("a1.sock", "a1.ctl", "a1.in.sock", "a12.sock", "b1.sock"):
        (tmp_path / name).touch()
    found = InstancePaths(tmp_path, tmp_path, "a1").all_sockets()
    assert sorted(path.name for path in found) == ["a1.ctl", "a1.in.sock", "a1.sock"]

"""Opening a file is safe whatever it is, and what is read belongs together."""

from __future__ import annotations

import os
import time

import pytest

from xserve.files.reader import Unreadable, read


def test_a_file_is_read_with_its_signature(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100_000)
    stat = path.stat()

    content = read(str(path), (str(tmp_path),), time.time_ns)

    assert content.raw == path.read_bytes()
    assert content.signature == (stat.st_dev, stat.st_ino, 100_000, stat.st_mtime_ns, stat.st_ctime_ns)


@pytest.mark.parametrize(("age", "racy"), [(0, True), (1_900_000_000, True), (2_100_000_000, False)])
def test_a_file_that_was_just_written_may_change_unseen(tmp_path, age, racy):
    path = tmp_path / "a"
    path.touch()
    now = max(path.stat().st_mtime_ns, path.stat().st_ctime_ns) + age

    assert read(str(path), (str(tmp_path),), lambda: now).racy is racy


def test_a_pipe_is_refused_without_opening_it(tmp_path, monkeypatch):
    path = tmp_path / "a"
    os.mkfifo(path)
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("it was opened"))

    with pytest.raises(Unreadable, match="is a pipe"):
        read(str(path), (str(tmp_path),), time.time_ns)


def test_a_file_that_changes_while_it_is_read_is_not_believed(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")
    really = os.read

    def interrupted(descriptor: int, size: int) -> bytes:
        content = really(descriptor, size)
        path.write_text("something newer")
        return content

    monkeypatch.setattr(os, "read", interrupted)

    with pytest.raises(Unreadable, match="is being written"):
        read(str(path), (str(tmp_path),), time.time_ns)


def test_a_link_may_lead_into_another_allowed_directory_but_not_beside_it(tmp_path):
    for name in ("own", "other", "other-not"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    roots = (str(tmp_path / "own"), str(tmp_path / "other"))
    link = tmp_path / "own" / "link"
    link.symlink_to("../other/a")
    assert read(str(link), roots, time.time_ns).raw == b"other"
    link.unlink()
    link.symlink_to("../other-not/a")

    with pytest.raises(Unreadable, match="other-not/a"):
        read(str(link), roots, time.time_ns)

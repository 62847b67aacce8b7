"""Files of ours are whole or not there."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xserve.files.names import counts, natural_key
from xserve.files.writer import StorageFull, file_name, remove, replace


def test_a_file_is_replaced_with_its_mode_whatever_the_umask_says(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    before = os.umask(0o777)
    try:
        replace(str(path), b"new", 0o640)
    finally:
        os.umask(before)

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "rename"])
@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, OSError)]
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, number, kind):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, fail)

    with pytest.raises(kind) as raised:
        replace(str(path), b"new")

    assert raised.value.errno == number
    assert isinstance(raised.value, StorageFull) is (kind is StorageFull)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_what_is_written_meanwhile_is_never_read_by_a_scan(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "rename", lambda old, new: seen.append(os.path.basename(old)))
    replace(str(tmp_path / "a.json"), b"new")

    assert [counts(name) for name in seen] == [False]


def test_removing_says_whether_there_was_a_file(tmp_path):
    (tmp_path / "a").touch()

    assert [remove(str(tmp_path / "a")), remove(str(tmp_path / "a"))] == [True, False]


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_every_name_gets_a_file_of_its_own_that_counts(one, other):
    names = file_name(one), file_name(other)

    assert (names[0] == names[1]) is (one == other)
    assert all(counts(name) and "/" not in name and len(name) < 100 and name.isascii() for name in names)


def test_a_file_name_can_be_read_by_people():
    assert file_name("Qwen2.5/Chat").startswith("qwen2-5-chat-")


def test_numbers_in_names_are_ordered_as_numbers():
    assert sorted(["10-x", "9-x", "a", "9"], key=natural_key) == ["9", "9-x", "10-x", "a"]


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.yml", "模型.yaml", "bak.yaml", "4913.yaml", "a b.json"])
def test_names_that_count(name):
    assert counts(name)


@pytest.mark.parametrize(
    "name",
    [
        "a", "a.txt", "a.json5", "a.JSON", ".a.json", "..data", "a.json~", "#a.json#", ".#a.json", "a.json.swp",
        "a.part.yaml", "a.yaml.bak", "a.bak.yaml", "a.orig", "a.yaml.dpkg-new", "a.ucf-dist.yaml", "a.yaml.rpmnew",
        "4913", "a.tmp.json", "a.rpmsave.yaml", "a.json.2412.2026-11-22@11:02:03~", ".ansible_tmpk2j1a.json",
    ],
)  # fmt: skip
def test_names_that_do_not_count(name):
    assert not counts(name)

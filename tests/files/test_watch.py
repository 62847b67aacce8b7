"""A watch only wakes; these tests ask for nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from xserve.files import watch as module
from xserve.files.watch import Watch

PATIENCE = 20.0


class Alarm:
    """Counts as woken once `wake` was called; can be set back."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.paths: set[str] = set()

    def __call__(self, paths: Collection[str]) -> None:
        self.paths.update(paths)
        self._event.set()

    def fall_silent(self) -> None:
        """Let pass what still comes of earlier changes."""
        while self.rings(0.05):
            pass

    def rings(self, seconds: float = PATIENCE) -> bool:
        rang = self._event.wait(seconds)
        self._event.clear()
        return rang


@pytest.fixture
def alarm() -> Alarm:
    return Alarm()


@pytest.fixture
def watch(alarm: Alarm) -> Iterator[Watch]:
    watch = Watch(alarm)
    yield watch
    watch.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "models.d"
    path.mkdir(parents=True)
    return path


def rearm(watch: Watch, alarm: Alarm, directory: Path) -> None:
    """Arm again, and wait until the watch of that very directory is proved."""
    watch.arm([str(directory)])
    alarm.fall_silent()
    (directory / "proof").touch()
    assert alarm.rings()


def change(directory: Path, how: str) -> None:
    path = directory / "a.yaml"
    if how == "create":
        (directory / "new.yaml").touch()
    elif how == "rename over":
        (directory / ".a").write_text("x")
        (directory / ".a").rename(path)
    elif how == "write":
        path.write_text("y")
    elif how == "remove":
        path.unlink()
    else:
        path.chmod(0o600)


@pytest.mark.parametrize("how", ["create", "rename over", "write", "remove", "chmod"])
def test_a_change_wakes(watch, alarm, directory, how):
    (directory / "a.yaml").write_text("x")
    watch.arm([str(directory)])

    change(directory, how)

    assert alarm.rings()


def test_reading_does_not_wake(watch, alarm, directory):
    path = directory / "a.yaml"
    path.write_text("x")
    watch.arm([str(directory)])
    path.read_text()
    os.listdir(directory)

    # The kernel keeps the order: had the reading been reported, it would have been before this.
    assert not alarm.rings(0.2)
    path.write_text("y")
    assert alarm.rings()


def test_a_directory_made_anew_is_watched_again(watch, alarm, directory):
    watch.arm([str(directory)])
    directory.rmdir()
    assert alarm.rings()
    watch.arm([str(directory)])
    directory.mkdir()
    assert alarm.rings()

    rearm(watch, alarm, directory)


def test_a_directory_made_anew_with_the_same_inode_is_watched_again(watch, alarm, directory, monkeypatch):
    monkeypatch.setattr(module, "_identity", lambda path: (1, 1))
    watch.arm([str(directory)])
    directory.rmdir()
    directory.mkdir()
    alarm.fall_silent()

    rearm(watch, alarm, directory)


def test_a_directory_swapped_by_rename_wakes_and_is_watched_again(watch, alarm, directory):
    watch.arm([str(directory)])
    other = directory.with_name("next")
    other.mkdir()
    directory.rename(directory.with_name("old"))
    other.rename(directory)
    assert alarm.rings()

    rearm(watch, alarm, directory)


def test_a_link_that_is_turned_wakes_and_its_new_target_is_watched(watch, alarm, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "models.d"
    link.symlink_to("one")
    watch.arm([str(link)])
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    assert alarm.rings()

    rearm(watch, alarm, link)


def test_entries_of_the_parent_that_do_not_matter_do_not_wake(watch, alarm, directory):
    watch.arm([str(directory)])
    (directory.parent / "other").touch()

    assert not alarm.rings(0.2)


def test_nothing_wakes_after_close(alarm, directory):
    watch = Watch(alarm)
    watch.arm([str(directory)])
    watch.close()
    (directory / "a.yaml").touch()

    assert not alarm.rings(0.2)


def test_without_room_for_a_watch_the_state_says_so(watch, directory, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.BaseObserver, "schedule", refuse)
    watch.arm([str(directory)])

    assert f"{directory}: not watched (No space left on device)" in watch.state


def test_without_any_watching_the_state_says_so(watch, directory, monkeypatch):
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "Observer", refuse)
    watch.arm([str(directory)])

    assert watch.state.startswith("watching 0 directories; inotify: not watched (Too many open files)")


def test_a_remote_file_system_is_named(watch, directory, monkeypatch):
    monkeypatch.setattr(module, "_mounts", lambda: {"/": "ext4", os.path.realpath(directory.parent): "nfs4"})
    watch.arm([str(directory)])

    assert f"{directory}: on nfs4" in watch.state


def test_where_something_changed_is_told_as_a_hint(watch: Watch, alarm: Alarm, directory: Path) -> None:
    rearm(watch, alarm, directory)
    (directory / ".new").write_text("x")
    (directory / ".new").rename(directory / "a.yaml")
    while str(directory / "a.yaml") not in alarm.paths:
        assert alarm.rings()


def test_a_watch_that_was_closed_is_not_begun_anew(watch: Watch, directory: Path) -> None:
    """The daemon closes it while a look, which arms it, may still run in a thread."""
    watch.arm([str(directory)])
    watch.close()

    watch.arm([str(directory)])

    assert watch.state == "watching 0 directories"


def test_troubles_are_told_until_the_next_ones_are_known(
    watch: Watch, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks while a look arms the watch gets no better picture than who asks after it."""
    told: list[str] = []

    def mounts() -> dict[str, str]:
        told.append(watch.state)
        return {os.path.realpath(directory): "nfs4"}

    monkeypatch.setattr(module, "_mounts", mounts)
    watch.arm([str(directory)])
    watch.arm([str(directory)])

    assert [f"{directory}: on nfs4" in state for state in told] == [False, True]

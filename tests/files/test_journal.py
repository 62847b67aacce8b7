"""What is in force outlives a restart, and a damaged journal costs no more than what was damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from xserve.core.judge import Fault, Verdict
from xserve.core.problems import Severity
from xserve.files.journal import FORMAT, Journal, Row, _encode
from xserve.files.store import Look

GOOD = "name: a\nsize: 1\n"


def served(look: Look) -> dict[str, object]:
    return {name[-1]: document.data for (kind, name), document in look.names.items() if kind == "model"}


def put_old(place, name: str, text: str) -> Path:
    """Put a file whose timestamps are too old for a write to go unnoticed."""
    path = place.put(name, text)
    place.clock.advance(10)
    return path


def count_judgements(place, monkeypatch) -> list[str]:
    judged: list[str] = []
    really = place.store.judge

    def judge(kind: str, data: object) -> Verdict:
        judged.append(kind)
        return really(kind, data)

    place.store.judge = judge
    return judged


def test_a_file_that_is_broken_at_start_is_served_from_the_journal(place):
    path = place.put("a.yaml", GOOD)
    place.look()
    place.put("a.yaml", "name: [")
    place.start()

    first, settled = place.look(), place.settle()

    assert served(first) == served(settled) == {"a": {"name": "a", "size": 1}}
    assert settled.files[str(path)].stale
    assert [problem.path for problem in settled.problems] == [str(path)]


def test_after_two_restarts_a_broken_file_is_still_reported_and_still_served(place):
    place.put("a.yaml", GOOD)
    place.look()
    place.put("a.yaml", "name: [")
    for _ in range(2):
        place.start()
        look = place.settle()

    assert served(look) == {"a": {"name": "a", "size": 1}}
    assert len(look.problems) == 1


def test_unchanged_files_are_neither_read_nor_judged_after_a_restart(place, monkeypatch):
    put_old(place, "a.yaml", GOOD)
    before = place.look()
    place.start()
    judged = count_judgements(place, monkeypatch)
    monkeypatch.setattr("xserve.files.store.read", lambda *_: pytest.fail("it was read"))

    look = place.look()

    assert judged == []
    assert (look.files, look.names) == (before.files, before.names)


def test_a_file_written_just_before_it_was_read_is_read_again_after_a_restart(place, monkeypatch):
    place.put("a.yaml", GOOD)
    place.look()
    place.start()
    judged = count_judgements(place, monkeypatch)
    read: list[str] = []
    from xserve.files import store

    really = store.read
    monkeypatch.setattr(store, "read", lambda path, *rest: read.append(path) or really(path, *rest))

    place.look()

    assert (len(read), judged) == (1, [])


def test_a_file_changed_while_nobody_looked_is_taken_at_start(place):
    put_old(place, "a.yaml", GOOD)
    place.look()
    put_old(place, "a.yaml", "name: a\nsize: 2\n")
    place.start()

    assert served(place.look()) == {"a": {"name": "a", "size": 2}}


def test_a_file_removed_while_nobody_looked_goes_after_the_settling_time(place):
    path = place.put("b.yaml", "name: b\n")
    place.look()
    path.unlink()
    place.start()

    assert [set(served(look)) for look in (place.look(), place.settle())] == [{"b"}, set()]


def test_an_empty_directory_at_start_is_a_mass_removal(place):
    paths = [place.put(f"{index}.yaml", f"name: m{index}\n") for index in range(4)]
    place.look()
    for path in paths:
        path.unlink()
    place.start()
    place.look()
    place.clock.advance(29)

    assert len(served(place.look())) == 4
    assert served(place.settle()) == {}


def test_who_had_a_name_before_the_restart_keeps_it(place):
    place.put("b.yaml", "name: x\nfrom: b\n")
    place.look()
    place.put("a.yaml", "name: x\nfrom: a\n")
    before = place.look()
    place.start()
    after = place.look()

    assert served(before)["x"]["from"] == served(after)["x"]["from"] == "b"
    assert [os.path.basename(problem.path) for problem in after.problems] == ["a.yaml"]
    assert (after.problems[0].line, after.problems[0].column, after.problems[0].field) == (1, 1, "name")


def test_warnings_outlive_a_restart_without_reading_the_file(place):
    place.store.judge = lambda kind, data: Verdict(kind, data, (Fault(("size",), "is odd", Severity.WARNING),))
    put_old(place, "a.yaml", GOOD)
    before = place.look()
    place.start()

    assert [problem.message for problem in before.problems] == ["is odd"]
    assert place.look().problems == before.problems


def test_another_version_judges_the_kept_document_anew(place):
    put_old(place, "a.yaml", GOOD)
    place.look()
    place.put("a.yaml", "name: [")
    place.version = "2"
    place.start()

    assert set(served(place.settle())) == {"a"}


def test_what_another_version_does_not_accept_is_not_in_force(place):
    put_old(place, "a.yaml", GOOD)
    place.look()
    place.version = "2"
    place.rejected.append("a")
    place.start()

    look = place.settle()

    assert served(look) == {}
    assert [problem.message for problem in look.problems] == ["is rejected"]


DAMAGE = {
    "a torn end": lambda raw: raw[:-10],
    "a bit turned": lambda raw: raw[:-30] + bytes([raw[-30] ^ 1]) + raw[-29:],
    "zeros at the end": lambda raw: raw + b"\0" * 4096,
    "a line of something else": lambda raw: raw + b"hello\n",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_set_aside_and_the_others_serve(place, damage):
    place.put("a.yaml", GOOD)
    place.look()
    place.put("b.yaml", "name: b\n")
    place.look()
    place.journal.write_bytes(damage(place.journal.read_bytes()))
    place.put("a.yaml", "name: [")
    place.start()

    look = place.settle()

    assert set(served(look)) == {"a", "b"}
    assert any("set aside" in problem.message for problem in look.problems)
    assert place.journal.with_name("accepted.set-aside").exists()
    place.start()
    assert not any("set aside" in problem.message for problem in place.look().problems)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"garbage", b'{"format": 1}\n', None], ids=repr)
def test_a_journal_that_cannot_be_used_is_set_aside_whole(place, content):
    place.put("a.yaml", GOOD)
    place.look()
    newer = place.journal.read_bytes().replace(b'"format":1', b'"format":2')
    place.journal.write_bytes(newer if content is None else content)
    place.start()

    look = place.look()

    assert set(served(look)) == {"a"}
    assert "another version" in look.problems[0].message
    assert place.journal.with_name("accepted.set-aside").read_bytes() == (newer if content is None else content)


def test_a_full_disk_is_told_and_tried_again(place, monkeypatch):
    place.put("a.yaml", GOOD)
    place.look()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        put_old(place, "b.yaml", "name: b\n")
        look = place.look()
        assert set(served(look)) == {"a", "b"}
        assert "not persisted: No space left on device" in look.problems[0].message
    look = place.look()
    assert look.problems == ()
    for name in ("a.yaml", "b.yaml"):
        place.put(name, "name: [")
    place.start()

    assert set(served(place.settle())) == {"a", "b"}


def test_a_look_without_news_writes_nothing(place):
    place.put("a.yaml", GOOD)
    place.look()
    before = place.journal.stat()
    place.path("a.yaml").touch()
    place.settle()

    assert place.journal.stat() == before


def row(path: str, data: object = None) -> Row:
    return Row(path, "admin", "model", "c", "d", data, (1, 2, 3, 4, 5), (("LLM", path),), ((1, 2, "f", "m"),), "1")


def test_the_journal_stays_within_twice_its_content_and_loses_nothing(tmp_path):
    journal = Journal(str(tmp_path / "j"))
    rows: dict[str, Row] = {}
    for step in range(400):
        path = f"/{step % 7}"
        if step % 11 == 10:
            rows.pop(path, None)
            assert journal.save([], [path], rows.values) == ""
        else:
            rows[path] = row(path, {"step": step, "pad": "x" * 2000})
            assert journal.save([rows[path]], [], rows.values) == ""
        assert os.path.getsize(journal.path) < 2 * max(1 << 16, 7 * 2200)
    again = Journal(journal.path)

    found, notes = again.load()

    assert ({each.path: each for each in found}, notes) == (rows, ())


def test_a_reader_writes_nothing(tmp_path):
    path = tmp_path / "j"
    Journal(str(path)).save([row("/a")], [], lambda: [row("/a")])
    path.write_bytes(path.read_bytes() + b"damage")
    before = path.read_bytes()
    reader = Journal(str(path), read_only=True)

    assert len(reader.load()[0]) == 1
    assert reader.save([row("/b")], ["/a"], lambda: [row("/b")]) == ""
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["j"]


@pytest.mark.parametrize("record", [{"path": "/x"}, {"gone": True}, {}], ids=["row", "removal", "nothing"])
def test_a_whole_record_that_is_not_understood_is_set_aside(tmp_path, record):
    """A program of another version may have written it."""
    path = tmp_path / "accepted"
    path.write_bytes(_encode({"format": FORMAT}) + _encode(record))

    rows, notes = Journal(str(path)).load()

    assert rows == []
    assert "has 1 damaged lines" in notes[0]

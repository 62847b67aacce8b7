"""What a pass over the files must find, with no event from anybody."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from xserve.files.store import Look


def served(look: Look) -> dict[str, object]:
    return {name[-1]: document.data for (kind, name), document in look.names.items() if kind == "model"}


def messages(look: Look) -> list[str]:
    return [str(problem) for problem in look.problems]


GOOD = "name: a\nsize: 1\n"


def test_a_file_renamed_into_place_counts_at_once(place):
    place.put("a.yaml", GOOD)

    look = place.look()

    assert served(look) == {"a": {"name": "a", "size": 1}}
    assert (look.changed, look.again_in, look.problems) == (True, None, ())


def test_a_second_look_at_the_same_files_changes_nothing(place):
    place.put("a.yaml", GOOD)
    place.look()

    assert not place.look().changed


def test_json_that_closes_counts_at_once_even_when_it_was_written_in_place(place):
    place.write("a.json", '{"name": "a"}')

    assert served(place.look()) == {"a": {"name": "a"}}


def test_yaml_written_in_place_counts_only_after_it_has_stood_still(place):
    place.write("a.yaml", "name: a\n")
    first = place.look()
    place.clock.advance(0.4)
    with place.path("a.yaml").open("a") as file:
        file.write("size: 1\n")
    second = place.look()
    place.clock.advance(0.4)
    third = place.look()
    place.clock.advance(0.1)

    assert [served(look) for look in (first, second, third)] == [{}, {}, {}]
    assert first.again_in == pytest.approx(0.5)
    assert third.again_in == pytest.approx(0.1)
    assert served(place.look()) == {"a": {"name": "a", "size": 1}}


def test_an_edit_in_place_waits_and_the_last_good_stays_in_force(place):
    place.put("a.yaml", GOOD)
    place.settle()
    place.write("a.yaml", "name: a\nsize: 2\n")

    look = place.look()

    assert served(look) == {"a": {"name": "a", "size": 1}}
    assert "still changing" in look.files[str(place.path("a.yaml"))].pending
    assert served(place.settle()) == {"a": {"name": "a", "size": 2}}


def test_a_broken_edit_is_reported_with_its_place_and_the_last_good_stays(place):
    path = place.put("a.yaml", GOOD)
    place.look()
    place.put("a.yaml", "name: a\nsize: [1\n")
    assert place.look().problems == ()

    look = place.settle()

    assert served(look) == {"a": {"name": "a", "size": 1}}
    assert look.files[str(path)].stale
    assert [(problem.path, problem.line) for problem in look.problems] == [(str(path), 3)]


def test_a_fault_of_judgement_points_at_the_key(place):
    path = place.put("a.yaml", "name: a\nother: 1\nbad: 1\n")

    assert messages(place.settle()) == [f"{path}:3:1: bad: is bad"]


def test_mending_a_broken_file_clears_the_report(place):
    place.put("a.yaml", "name: [")
    assert place.settle().problems
    place.put("a.yaml", GOOD)

    look = place.look()

    assert (look.problems, served(look)) == ((), {"a": {"name": "a", "size": 1}})


def test_undoing_an_edit_in_place_counts_at_once(place):
    place.put("a.yaml", GOOD)
    place.look()
    place.write("a.yaml", "name: b\n")
    place.look()
    place.write("a.yaml", GOOD)

    look = place.look()

    assert look.again_in is None
    assert look.files[str(place.path("a.yaml"))].pending == ""


@pytest.mark.parametrize("text", ["# why\nname: a\nsize:   1\n", '{"size": 1, "name": "a"}', "size: 0x1\nname: 'a'\n"])
def test_comments_and_formatting_do_not_change_the_document(place, text):
    path = str(place.put("a.yaml", GOOD))
    before = place.look().files[path]
    place.put("a.yaml", text)
    after = place.look().files[path]

    assert before.content_hash != after.content_hash
    assert before.document_hash == after.document_hash


def test_a_touch_changes_nothing(place):
    path = place.put("a.yaml", GOOD)
    place.settle()
    os.utime(path)

    look = place.look()

    assert (look.changed, look.again_in) == (False, None)


def test_a_write_within_the_same_tick_of_the_clock_is_noticed(place):
    path = place.put("a.json", '{"name": "a"}')
    stat = path.stat()
    place.look()
    with path.open("r+") as file:
        file.write('{"name": "b"}')
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    record = place.store._records[place.sources()[1]][str(path)]
    record.signature = (*record.signature[:4], path.stat().st_ctime_ns)

    assert set(served(place.settle())) == {"b"}


def test_a_removed_file_goes_after_the_settling_time(place):
    path = place.put("a.yaml", GOOD)
    place.look()
    path.unlink()

    look = place.look()

    assert served(look) == {"a": {"name": "a", "size": 1}}
    assert "gone" in look.files[str(path)].pending
    assert look.again_in == pytest.approx(0.5)
    assert served(place.settle()) == {}


def test_an_editor_that_removes_and_rewrites_never_takes_the_model_away(place):
    path = place.put("a.yaml", GOOD)
    place.look()
    path.rename(path.with_name("a.yaml~"))
    gone = place.look()
    place.write("a.yaml", "name: a\nsize: 2\n")
    back = place.look()

    assert [served(look)["a"]["size"] for look in (gone, back, place.settle())] == [1, 1, 2]


def test_a_renamed_file_keeps_its_model_without_a_gap(place):
    path = place.put("a.yaml", GOOD)
    place.look()
    path.rename(path.with_name("b.yaml"))

    looks = [place.look(), place.settle()]

    assert [set(served(look)) for look in looks] == [{"a"}, {"a"}]
    assert looks[1].problems == ()
    assert list(looks[1].files) == [str(path.with_name("b.yaml"))]


def test_a_name_that_is_not_utf_8_harms_nobody(place):
    place.put("a.yaml", GOOD)
    with open(os.fsencode(place.root / "models.d") + b"/\xff.yaml", "w") as file:
        file.write("name: b\n")

    assert set(served(place.settle())) == {"a"}


@pytest.mark.parametrize("name", [".a.yaml", "a.yaml~", "a.bak.yaml", "a.txt", ".ansible_tmpx7a.json", "a.yaml.swp"])
def test_names_that_do_not_count_are_not_read(place, name):
    place.put(name, "bad: [")

    assert place.settle().problems == ()


@pytest.mark.parametrize("kind", ["fifo", "directory", "dangling", "loop", "outside", "large", "device"])
def test_what_is_no_file_of_ours_is_reported_and_harms_nothing(place, kind, tmp_path_factory):
    place.put("good.yaml", GOOD)
    path = place.path("x.yaml")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nowhere.yaml")
    elif kind == "loop":
        path.symlink_to("x.yaml")
    elif kind == "outside":
        foreign = tmp_path_factory.mktemp("foreign") / "x.yaml"
        foreign.write_text("name: x\n")
        path.symlink_to(foreign)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b"#" * ((1 << 20) + 1))
    said = {
        "fifo": "is a pipe",
        "directory": "is a directory",
        "dangling": "does not exist",
        "loop": "leads back to itself",
        "outside": "out of the allowed directories",
        "large": "is too large",
        "device": "is a device",
    }[kind]

    look = place.settle()

    assert set(served(look)) == {"a"}
    assert [problem.path for problem in look.problems] == [str(path)]
    assert said in look.problems[0].message


def test_a_file_without_permission_keeps_its_last_good_until_it_can_be_read(place, monkeypatch):
    path = place.put("a.yaml", GOOD)
    place.look()
    place.put("a.yaml", "name: a\nsize: 2\n")
    really = os.open

    def refuse(name, *args, **options):
        if str(name) == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return really(name, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        look = place.settle()
    assert served(look) == {"a": {"name": "a", "size": 1}}
    assert "permission denied" in look.problems[0].message

    assert served(place.settle()) == {"a": {"name": "a", "size": 2}}


def test_a_missing_directory_keeps_everything_and_says_so(place):
    place.put("a.yaml", GOOD)
    place.look()
    place.path("a.yaml").parent.rename(place.root / "away")

    look = place.settle()

    assert set(served(look)) == {"a"}
    assert "does not exist" in look.problems[0].message


@pytest.mark.parametrize("left", ["half written", "removed"])
def test_a_missing_directory_asks_for_no_further_looks_of_its_own(place, left):
    """What was open in it cannot be decided while it is away: looking again and again would only burn the processor."""
    path = place.put("a.yaml", GOOD)
    place.look()
    if left == "removed":
        path.unlink()
    else:
        place.write("a.yaml", "name: a\nsi")
    assert place.look().again_in
    path.parent.rename(place.root / "away")
    place.clock.advance(60)

    assert place.look().again_in is None


def test_a_directory_made_anew_and_empty_lets_go(place):
    path = place.put("a.yaml", GOOD)
    place.look()
    path.parent.rename(place.root / "away")
    path.parent.mkdir()

    look = place.settle()

    assert (served(look), look.problems) == ({}, ())


def test_a_directory_that_never_was_is_no_problem(place):
    (place.root / "deploy.d").rmdir()

    assert place.settle().problems == ()


def test_a_link_to_a_directory_that_is_flipped_brings_its_content(place):
    directory = place.root / "models.d"
    directory.rmdir()
    for version in ("1", "2"):
        (place.root / f"release-{version}").mkdir()
        place.put(f"release-{version}/a.json", f'{{"name": "a", "v": {version}}}')
    directory.symlink_to("release-1")
    before = place.look()
    temporary = place.root / "next"
    temporary.symlink_to("release-2")
    temporary.rename(directory)

    assert [served(look)["a"]["v"] for look in (before, place.look())] == [1, 2]


def test_a_volume_of_kubernetes_is_followed_through_its_swap(place):
    directory = place.root / "models.d"
    for version in ("1", "2"):
        (directory / f"..2026_{version}").mkdir()
        (directory / f"..2026_{version}" / "a.yaml").write_text(f"name: a\nv: {version}\n")
    (directory / "..data").symlink_to("..2026_1")
    (directory / "a.yaml").symlink_to("..data/a.yaml")
    before = place.settle()
    (directory / "..data_tmp").symlink_to("..2026_2")
    (directory / "..data_tmp").rename(directory / "..data")

    assert [served(look)["a"]["v"] for look in (before, place.settle())] == [1, 2]


def fill(place, count: int) -> list[Path]:
    return [place.put(f"{index}.yaml", f"name: m{index}\n") for index in range(count)]


def test_removing_most_definitions_at_once_is_held_for_one_resync(place):
    paths = fill(place, 5)
    place.look()
    for path in paths[:3]:
        path.unlink()
    place.look()
    place.clock.advance(1)
    held = place.look()
    place.clock.advance(29)

    assert len(served(held)) == 5
    assert "vanished at once" in held.problems[0].message
    assert held.again_in == pytest.approx(29)
    assert set(served(place.settle())) == {"m3", "m4"}


def test_a_reload_ends_the_hold(place):
    paths = fill(place, 5)
    place.look()
    for path in paths:
        path.unlink()
    assert len(served(place.look())) == 5

    look = place.look(reload=True)

    assert (served(look), look.problems, look.again_in) == ({}, (), None)


@pytest.mark.parametrize(("count", "removed"), [(2, 2), (6, 3)])
def test_a_small_removal_is_not_held(place, count, removed):
    paths = fill(place, count)
    place.look()
    for path in paths[:removed]:
        path.unlink()
    place.look()
    place.clock.advance(0.5)

    assert len(served(place.look())) == count - removed


@pytest.mark.parametrize("layer", ["state", "runtime"])
def test_what_the_api_removes_is_gone_at_once_however_much_it_is(place, layer):
    """Nobody unmounts a layer of the API by mistake, and no editor works in it."""
    paths = [place.put(f"{layer}/{index}.json", f'{{"name": "m{index}"}}') for index in range(4)]
    assert len(served(place.look())) == 4
    for path in paths:
        path.unlink()

    look = place.look()

    assert (served(look), look.problems, look.again_in) == ({}, (), None)


def test_a_reload_reports_a_broken_file_at_once(place):
    place.write("a.yaml", "name: [")

    look = place.look(reload=True)

    assert (len(look.problems), look.again_in) == (1, None)


def test_the_deploy_file_may_be_absent_and_its_removal_counts(place):
    assert place.settle().problems == ()
    place.put("deploy.yaml", "models: {chat: {}}\n")
    assert ("deploy", ("chat",)) in place.look().names
    place.path("deploy.yaml").unlink()

    assert place.settle().names == {}


def test_a_link_to_null_masks_the_file_of_its_name_in_lower_layers(place):
    for layer in ("builtin", "state", "runtime"):
        place.put(f"{layer}/x.yaml", f"name: {layer}\n")
    assert set(served(place.look())) == {"builtin", "state", "runtime"}
    (place.root / "state" / "x.yaml").unlink()
    (place.root / "state" / "x.yaml").symlink_to("/dev/null")
    assert set(served(place.settle())) == {"runtime"}
    (place.root / "state" / "x.yaml").unlink()

    assert set(served(place.settle())) == {"builtin", "runtime"}


def test_a_higher_layer_hides_the_same_name_and_gives_it_back(place):
    place.put("builtin/a.yaml", "name: a\nsize: 0\n")
    place.put("a.yaml", GOOD)
    above = place.settle()
    place.path("a.yaml").unlink()

    assert [served(look)["a"]["size"] for look in (above, place.settle())] == [1, 0]
    assert above.problems == ()


def test_a_name_taken_by_mistake_is_told_and_stops_nothing(place):
    path = place.put("a.yaml", GOOD)
    place.put("b.yaml", "name: b\n")
    place.look()
    place.put("a.yaml", "size: 1\nname: b\n")

    look = place.look()

    assert set(served(look)) == {"a", "b"}
    assert look.files[str(path)].stale
    assert messages(look) == [
        f"{path}:2:1: name: LLM b is already declared by {place.path('b.yaml')}, which keeps it; "
        "rename one of the two or remove it"
    ]


def test_a_preview_says_what_an_edit_would_do_and_does_not_do_it(place):
    place.put("a.yaml", GOOD)
    before = place.look()
    new = str(place.path("n.yaml"))

    found = place.store.preview({new: b"name: n\n", str(place.path("a.yaml")): b"name: a\nsize: 2\n"})

    assert {name[-1]: document.data.get("size") for (_, name), document in found.names.items()} == {"a": 2, "n": None}
    assert found.problems == ()
    assert place.look().files == before.files


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("models.d/n.yaml", b"name: [", "not YAML"),
        ("models.d/n.yaml", b"x: 1\nname: a\n", "already declared"),
        ("elsewhere/n.yaml", b"name: n\n", "none of the directories"),
    ],
)
def test_a_preview_names_what_is_wrong_with_the_candidate(place, path, content, said):
    place.put("a.yaml", GOOD)
    place.look()

    found = place.store.preview({str(place.root / path): content})

    assert [said in problem.message for problem in found.problems] == [True]
    assert [data["size"] for data in (each.data for each in found.names.values())] == [1]


def glanced(place, *names):
    look = place.store.glance([str(place.path(name)) for name in names])
    return None if look is None else served(look)


def test_a_glance_tells_a_plain_change_at_once_and_the_next_look_keeps_it(place):
    place.put("a.json", '{"name": "a", "size": 1}')
    place.look()
    place.put("a.json", '{"name": "a", "size": 2}')
    place.put("b.json", '{"name": "b", "size": 3}')

    found = glanced(place, "a.json", "b.json", ".tmp", "elsewhere/x.json")

    assert {name: data["size"] for name, data in found.items()} == {"a": 2, "b": 3}
    after = place.look()
    assert (served(after), after.changed) == (found, False)
    place.start()
    assert served(place.look()) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda place: place.put("b.json", '{"name": "a"}'),  # a name that another file has
        lambda place: place.put("b.json", '{"name": "shipped"}'),  # one that a lower layer has
        lambda place: place.put("b.json", '{"name": "other"}'),  # one is given up
        lambda place: place.put("b.json", '{"name": '),  # broken
        lambda place: place.write("b.json", '{"name": "b", "size": 9}'),  # written in place: it may go on
        lambda place: place.path("b.json").unlink(),
    ],
    ids=["taken", "below", "given-up", "broken", "in-place", "removed"],
)
def test_a_glance_leaves_everything_else_to_the_look(place, change):
    place.put("builtin/x.json", '{"name": "shipped"}')
    place.put("a.json", '{"name": "a"}')
    place.put("b.json", '{"name": "b", "size": 1}')
    before = served(place.look())
    change(place)

    assert glanced(place, "b.json") is None
    assert served(place.store._last) == before


def test_a_glance_before_any_look_or_among_masks_tells_nothing(place):
    place.put("a.json", '{"name": "a"}')
    assert glanced(place, "a.json") is None
    (place.root / "models.d" / "x.yaml").symlink_to("/dev/null")
    place.look()
    place.put("a.json", '{"name": "a", "size": 2}')
    assert glanced(place, "a.json") is None
    assert served(place.look())["a"]["size"] == 2

"""Who owns a name, by example: the rules are numbered in the module."""

from __future__ import annotations

from xserve.files.examine import Accepted
from xserve.files.precedence import Contender, Mask, assign, by_group, effective
from xserve.files.sources import Kind, Layer


def document(path: str, *names: str, layer: Layer = "admin", kind: Kind = "model", said: str = "") -> Accepted:
    return Accepted(path, layer, kind, f"content of {path} {said}", said, {}, {(name,): (name,) for name in names})


def owners(*contenders: Contender, incumbents: dict[str, str] | None = None) -> dict[str, str]:
    ownership = assign(contenders, {(name,): path for name, path in (incumbents or {}).items()})
    return {name[0]: document.path for name, document in ownership.owners.items()}


def test_the_first_by_file_name_wins_a_name_that_nobody_had():
    assert owners(Contender(document("/10-b.yaml", "x")), Contender(document("/2-a.yaml", "x"))) == {"x": "/2-a.yaml"}


def test_the_file_name_counts_and_not_its_directory():
    assert owners(Contender(document("/a/2.yaml", "x")), Contender(document("/b/1.yaml", "x"))) == {"x": "/b/1.yaml"}


def test_who_had_the_name_keeps_it_whatever_it_is_called():
    contenders = [Contender(document(path, "x")) for path in ("/a", "/b", "/c")]

    assert owners(*contenders, incumbents={"x": "/b"}) == {"x": "/b"}
    assert owners(*reversed(contenders), incumbents={"x": "/b"}) == {"x": "/b"}


def test_who_had_the_name_and_declares_it_no_more_has_no_say():
    a, b = Contender(document("/a", "y")), Contender(document("/b", "x"))

    assert owners(a, b, incumbents={"x": "/a"}) == {"x": "/b", "y": "/a"}


def test_each_loser_is_named_once_with_who_won():
    found = assign([Contender(document(path, "x")) for path in ("/c", "/b", "/a")], {})

    assert sorted((loss.loser.path, loss.name, loss.winner) for loss in found.losses) == [
        ("/b", ("x",), "/a"),
        ("/c", ("x",), "/a"),
    ]
    assert list(found.in_force) == ["/a"]


def test_a_file_that_takes_the_name_of_another_keeps_its_last_good_in_force():
    before = document("/a", "x", said="before")
    found = assign([Contender(document("/a", "y"), before), Contender(document("/b", "y"))], {("y",): "/b"})

    assert found.in_force["/a"] is before
    assert found.owners[("x",)] is before
    assert found.owners[("y",)].path == "/b"


def test_a_last_good_whose_name_is_taken_too_is_not_in_force():
    before = document("/a", "x")
    rivals = [Contender(document("/b", "y")), Contender(document("/c", "x"))]
    found = assign([Contender(document("/a", "y"), before), *rivals], {("y",): "/b"})

    assert sorted(found.in_force) == ["/b", "/c"]


def test_two_files_may_swap_their_names_at_once():
    a, b = document("/a", "y"), document("/b", "x")
    found = assign([Contender(a, document("/a", "x")), Contender(b, document("/b", "y"))], {("x",): "/a", ("y",): "/b"})

    assert (found.owners, found.losses) == ({("y",): a, ("x",): b}, ())


def test_a_file_with_several_names_keeps_those_that_it_wins():
    found = assign([Contender(document("/a", "x", "y")), Contender(document("/b", "y", "z"))], {})

    assert {name[0]: owner.path for name, owner in found.owners.items()} == {"x": "/a", "y": "/a", "z": "/b"}
    assert sorted(found.in_force) == ["/a", "/b"]


def test_a_file_without_names_is_in_force():
    assert list(assign([Contender(document("/a"))], {}).in_force) == ["/a"]


def over_layers(*documents: Accepted, masks: tuple[Mask, ...] = ()) -> dict[tuple[Kind, str], str]:
    groups = {group: assign(rivals, {}) for group, rivals in by_group(map(Contender, documents)).items()}
    return {(kind, name[0]): found.path for (kind, name), found in effective(groups, masks).items()}


def test_the_highest_layer_has_the_name():
    layers: tuple[Layer, ...] = ("runtime", "builtin", "admin", "state")
    documents = [document(f"/{layer}/x", "x", layer=layer) for layer in layers]

    for expected in ("admin", "runtime", "state", "builtin"):
        assert over_layers(*documents) == {("model", "x"): f"/{expected}/x"}
        documents = [each for each in documents if each.layer != expected]


def test_kinds_do_not_hide_each_other():
    found = over_layers(document("/m", "x"), document("/d", "x", kind="deploy", layer="state"))

    assert found == {("model", "x"): "/m", ("deploy", "x"): "/d"}


def test_a_mask_hides_the_file_of_its_name_in_lower_layers_only():
    documents = [document(f"/{layer}/x.yaml", layer, layer=layer) for layer in ("builtin", "state", "admin")]
    masks = (Mask("state", "model", "x.yaml"),)

    assert sorted(name for _, name in over_layers(*documents, masks=masks)) == ["admin", "state"]
    assert len(over_layers(*documents, masks=(Mask("admin", "deploy", "x.yaml"),))) == 3
    assert len(over_layers(*documents, masks=(Mask("admin", "model", "y.yaml"),))) == 3

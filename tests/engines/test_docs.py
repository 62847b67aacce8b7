"""What the docs promise of engines: a row for each kind of model that one can serve, and examples that hold."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from xserve.cli.main import main
from xserve.core.manifest import Manifest, Serves

from .harness import ENGINES, manifest

ROOT = ENGINES.parent
DOCS = ROOT / "docs"
NAMES = sorted(path.parent.name for path in ENGINES.glob("*/engine.yaml"))
EXAMPLE = re.compile(r"```yaml\n# (\S+?):?(?: [^\n]*)?\n(.*?)```", re.DOTALL)


def table() -> list[list[str]]:
    """The cells of the rows of what was proven: type, kinds, engine, proof, tests."""
    lines = [line for line in (DOCS / "engines.md").read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if len(row) == 5 and row[0] != "type"]


def kinds(declared: Manifest, row: Serves) -> set[tuple[str, str, str]]:
    """What a row of a manifest claims: type, format ("" where the type has none), engine."""
    return {(row.type, kind, declared.name) for kind in row.formats or ("",)}


@pytest.mark.parametrize("name", NAMES)
def test_each_kind_of_model_that_an_engine_claims_has_a_row_that_says_what_it_was_proven_on(name: str) -> None:
    declared = manifest(name)
    if declared.only_when_named:
        pytest.skip("serves no model")
    claimed = {kind for row in declared.serves for kind in kinds(declared, row)}
    told = {
        (kind, format_ if any(row.formats for row in declared.serves if row.type == kind) else "", engine)
        for kind, formats, engine, proof, _ in table()
        for format_ in formats.split(", ")
        if engine == name and proof
    }
    assert claimed == told


def test_the_tests_that_the_table_names_are_there() -> None:
    named = set(itertools.chain(*(re.findall(r"`([^`]+)`", row[4]) for row in table())))
    assert named
    missing = [
        name for name in named if not any((place / name).exists() for place in (ROOT, ROOT / "tests" / "engines"))
    ]
    assert missing == []


def examples(doc: Path) -> list[tuple[str, str]]:
    """Name and content of each example of a file of the docs."""
    return EXAMPLE.findall(doc.read_text())


def test_every_engine_has_an_example() -> None:
    named = (DOCS / "engines.md").read_text()
    missing = [
        name for name in NAMES if not manifest(name).only_when_named and not re.search(rf"## .*\b{name}\b", named)
    ]
    assert missing == []


@pytest.mark.parametrize("doc", sorted(DOCS.glob("*.md")), ids=lambda doc: doc.stem)
def test_examples_are_without_fault(doc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file beside the definitions of the same page. That weights are not here is no fault of it."""
    (tmp_path / "models.d").mkdir()
    found = examples(doc)
    assert found or "```yaml" not in doc.read_text(), "an example begins with a comment that names its file"
    for name, content in found:
        (tmp_path / name).write_text(content)
    for name, content in found:
        (tmp_path / name).write_text(content)
        assert main(["check", str(tmp_path / name), "--config-dir", str(tmp_path)]) == 0, capsys.readouterr().err

"""`schema`: what editors are told agrees with what the daemon accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from xserve.cli.schema import NAMES, schema
from xserve.core.judge import judge

from .scripted import Outcome

Xserve = Callable[..., Outcome]

DEFINITIONS = sorted((Path(__file__).parents[1] / "core" / "definitions").glob("*.json"))
"""The definitions that Xinference documents."""

# Accepted and refused documents of each kind; True: the daemon accepts it.
DOCUMENTS: list[tuple[str, Any, bool]] = [
    ("deploy", {"version": 1, "models": {"chat": None, "b": {"size": 7, "gpus": [0, 1], "options": {"x": 1}}}}, True),
    ("deploy", {"version": 1, "defaults": {"gpus": "auto", "env": {"A": 1}}}, True),
    ("deploy", {"version": 2}, False),
    ("deploy", {"version": 1, "models": {"chat": {"replica": 2}}}, False),
    ("deploy", {"version": 1, "models": {"chat": {"replicas": 65}}}, False),
    ("settings", {"version": 1, "resync": "30s", "settle": 0.5, "restart": {"maximum": "10m"}}, True),
    ("settings", {"version": 1, "resync": True}, False),
    ("settings", {"version": 1, "port": 70000}, False),
]


@pytest.mark.parametrize("name", NAMES)
def test_snapshot(name: str, matches_snapshot: Callable[[str, str], None], xserve: Xserve) -> None:
    matches_snapshot(f"{name}.schema.json", xserve("schema", name).out)


def test_without_a_name_all_of_them_are_one_document(xserve: Xserve) -> None:
    document = json.loads(xserve("schema").out)
    assert list(document) == list(NAMES)
    assert document["deploy"] == schema("deploy")
    assert xserve("schema", "nonsense").code == 2


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_json_schema_in_which_every_field_is_described(name: str) -> None:
    made = schema(name)
    jsonschema.Draft202012Validator.check_schema(made)
    assert [where for where, field in fields(made) if not field.get("description")] == []


@pytest.mark.parametrize(("kind", "document", "good"), DOCUMENTS)
def test_editors_and_the_daemon_agree(kind: str, document: Any, good: bool) -> None:
    assert (judge(kind, document).value is not None) is good
    assert jsonschema.Draft202012Validator(schema(kind)).is_valid(document) is good


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.stem)
def test_documented_definitions_are_valid(file: Path) -> None:
    document = json.loads(file.read_text())
    verdict = judge("model", document)
    assert verdict.value is not None
    jsonschema.validate(document, schema(verdict.value["model_type"]))


def test_there_are_documented_definitions() -> None:
    """Or the test above would hold of nothing."""
    assert len(DEFINITIONS) == 6


def fields(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of every part of a schema."""
    for title, part in {"": made, **made.get("$defs", {})}.items():
        for name, field in part.get("properties", {}).items():
            yield f"{title}.{name}", field


def test_the_options_of_an_engine_are_those_of_its_manifest(xserve: Xserve) -> None:
    made = json.loads(xserve("schema", "options", "llama.cpp").out)
    jsonschema.Draft202012Validator.check_schema(made)
    assert "n_ctx" in made["properties"]


def test_an_engine_of_the_settings_own_folder_has_options_too(xserve: Xserve, tmp_path: Path) -> None:
    folder = tmp_path / "engines" / "mine"
    folder.mkdir(parents=True)
    manifest = {"name": "mine", "title": "Mine", "description": "x", "serves": [], "command": ["x"]}
    (folder / "engine.yaml").write_text(json.dumps({**manifest, "options": {"title": "of mine"}}))
    (tmp_path / "xserve.yaml").write_text(json.dumps({"version": 1, "engine_dirs": [str(folder.parent)]}))
    found = xserve("schema", "options", "mine", "--config-dir", str(tmp_path))
    assert json.loads(found.out)["title"] == "of mine"


@pytest.mark.parametrize("words", [["options"], ["options", "nonsense"], ["deploy", "llama_cpp"]])
def test_options_need_an_engine_that_there_is(words: list[str], xserve: Xserve) -> None:
    assert xserve("schema", *words).code == 2

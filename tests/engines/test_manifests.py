"""What every `engine.yaml` must be, without starting anything."""

from __future__ import annotations

import jsonschema
import pytest

from .harness import ENGINES, manifest

NAMES = sorted(path.parent.name for path in ENGINES.glob("*/engine.yaml"))
PATHS = {
    "LLM": "/v1/",
    "embedding": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "image": "/v1/images/",
    "audio": "/v1/audio/",
    "flexible": "/v1/flexible/infers",
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_name_is_that_of_the_folder(name: str) -> None:
    assert manifest(name).name == name


def test_options_are_a_closed_json_schema(name: str) -> None:
    schema = manifest(name).options
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


def test_each_option_is_described_and_its_default_is_valid(name: str) -> None:
    for option, schema in manifest(name).options["properties"].items():
        assert schema.get("description"), option
        if "default" in schema:
            jsonschema.validate(schema["default"], schema)


def test_each_type_has_a_probe_on_a_path_of_its_own(name: str) -> None:
    declared = manifest(name)
    for served in declared.serves:
        assert served.probe is not None
        assert served.probe.path.startswith(PATHS[served.type])


def test_the_command_names_what_the_daemon_fills_in(name: str) -> None:
    command = manifest(name).command
    assert command[:3] == ("{python}", "-I", "{folder}")
    assert {"{launch}", "{socket}"} < set(command)


def test_an_engine_folder_is_no_package_and_imports_nothing_of_xserve(name: str) -> None:
    for file in (ENGINES / name).rglob("*.py"):
        assert file.name != "__init__.py"
        assert "import xserve\n" not in file.read_text()
        assert "from xserve." not in file.read_text()

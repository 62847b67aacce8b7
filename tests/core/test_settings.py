"""The daemon's settings."""

from __future__ import annotations

from typing import Any

import pytest

from xserve.core.judge import judge
from xserve.core.settings import Settings

from .samples import accepted, only_error


def test_a_version_is_all_that_is_needed() -> None:
    settings = Settings.model_validate(accepted({"version": 1}, "settings"))
    assert (settings.host, settings.port, settings.insecure_no_auth) == ("127.0.0.1", 9997, False)


def test_durations_may_be_written_with_units_at_every_depth() -> None:
    value = accepted({"version": 1, "resync": "1m", "restart": {"initial": "500ms"}, "settle": 2}, "settings")
    settings = Settings.model_validate(value)
    assert (settings.resync, settings.restart.initial, settings.settle) == (60.0, 0.5, 2.0)


def test_what_is_accepted_says_only_what_was_written() -> None:
    assert accepted({"version": 1, "port": 0}, "settings") == {"version": 1, "port": 0}


@pytest.mark.parametrize(
    ("document", "path", "hint"),
    [
        ({"prot": 1}, ("prot",), "did you mean 'port'?"),
        ({"restart": {"zzz": 1}}, ("restart", "zzz"), "valid are initial, maximum"),
        ({"restart": {"maxmum": 1}}, ("restart", "maxmum"), "did you mean 'maximum'?"),
        ({"limits": {"body_byte": 1}}, ("limits", "body_byte"), "did you mean 'body_bytes'?"),
    ],
)
def test_an_unknown_key_names_the_nearest(document: dict[str, Any], path: tuple[str, ...], hint: str) -> None:
    found, message = only_error({"version": 1, **document}, "settings")
    assert found == path
    assert hint in message


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"engine_dirs": ["/a", "b"]}, ("engine_dirs", 1)),
        ({"launcher_dirs": ["./b"]}, ("launcher_dirs", 0)),
        ({"environments": {"directory": "envs"}}, ("environments", "directory")),
    ],
)
def test_folders_are_absolute(document: dict[str, Any], path: tuple[str, ...]) -> None:
    found, message = only_error({"version": 1, **document}, "settings")
    assert found == path
    assert message.endswith("is not an absolute path; give one")


def test_a_gate_that_is_not_there_yet_is_not_sent_back_to_the_file_it_stands_in() -> None:
    path, message = only_error({"version": 1, "trust_remote_code": True}, "settings")
    assert path == ("trust_remote_code",)
    assert message.startswith("unknown key 'trust_remote_code'")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resync", "soon"),
        ("resync", -1),
        ("port", 65536),
        ("port", -1),
        ("port", "9997"),
        ("watch", "yes"),
        ("watch", 1),
        ("insecure_no_auth", "true"),
        ("max_starting", 0),
        ("allowed_hosts", "x"),
        ("restart", 1),
    ],
)
def test_a_wrong_value_is_one_error(key: str, value: Any) -> None:
    assert only_error({"version": 1, key: value}, "settings")[0] == (key,)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("restart", "give_up_after", 0),
        ("logs", "max_bytes", 10),
        ("logs", "keep", -1),
        ("health", "misses", 0),
        ("limits", "body_bytes", 10),
    ],
)
def test_a_wrong_value_in_a_section_is_one_error_there(section: str, key: str, value: Any) -> None:
    assert only_error({"version": 1, section: {key: value}}, "settings")[0] == (section, key)


def test_the_version_is_required() -> None:
    assert judge("settings", {"port": 1}).faults[0].message == "the required key 'version' is missing"

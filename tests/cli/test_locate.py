"""How a command finds its daemon."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from xserve.cli import locate as module
from xserve.cli.locate import DEFAULT_ENDPOINT, locate

from .scripted import Outcome, Script

Xserve = Callable[..., Outcome]


def arguments(endpoint: str | None = None, config_dir: str | None = None) -> Namespace:
    """What argparse found."""
    return Namespace(endpoint=endpoint, config_dir=config_dir)


def leave_note(file: Path, **content: object) -> Path:
    """A daemon's note."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"pid": 7, **content}))
    return file


def test_what_the_command_line_says_wins_over_the_environment(config_dir: Path) -> None:
    leave_note(config_dir / "run/daemon.json", admin_socket="/a", url="http://h:1")
    everything = {"XSERVE_CONFIG_DIR": "/elsewhere", "XSERVE_ENDPOINT": "http://elsewhere:1"}
    assert locate(arguments(endpoint="http://here:1/"), everything).addresses == ("http://here:1",)
    assert locate(arguments(config_dir=str(config_dir)), everything).addresses == ("unix:/a", "http://h:1")


def test_the_directory_of_the_environment_wins_over_its_endpoint(config_dir: Path) -> None:
    leave_note(config_dir / "run/daemon.json", admin_socket="/a", url=None)
    target = locate(arguments(), {"XSERVE_CONFIG_DIR": str(config_dir), "XSERVE_ENDPOINT": "http://elsewhere:1"})
    assert target.addresses == ("unix:/a",)


def test_a_host_and_port_will_do_as_an_endpoint() -> None:
    assert locate(arguments(), {"XSERVE_ENDPOINT": "gpu7:9997"}).addresses == ("http://gpu7:9997",)


def test_a_directory_without_a_running_daemon_never_leads_to_another_one(config_dir: Path) -> None:
    target = locate(arguments(config_dir=str(config_dir)), {"XSERVE_ENDPOINT": "http://elsewhere:1"})
    assert target.addresses == ()
    assert target.tried == f"the daemon of {config_dir} ({config_dir}/run/daemon.json is not there: it is not running)"


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"admin_socket": null}'])
def test_a_damaged_note_is_no_traceback(config_dir: Path, content: str) -> None:
    (config_dir / "run/daemon.json").write_text(content)
    assert locate(arguments(config_dir=str(config_dir)), {}).addresses == ()


def test_the_users_own_daemon_comes_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(module, "SYSTEM_NOTE", leave_note(tmp_path / "system.json", admin_socket="/system", url=None))
    own = leave_note(tmp_path / "own/xserve/daemon.json", admin_socket="/own", url=None)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "own"), "HOME": str(tmp_path)}
    assert locate(arguments(), environ).addresses == ("unix:/own", DEFAULT_ENDPOINT)
    own.unlink()
    target = locate(arguments(), environ)
    assert target.addresses == ("unix:/system", DEFAULT_ENDPOINT)
    assert all(str(each) in target.tried for each in (own, module.SYSTEM_NOTE, DEFAULT_ENDPOINT))


def test_the_admin_socket_is_used_and_else_the_address(config_dir: Path, script: Script, xserve: Xserve) -> None:
    """Whoever may not open the socket still gets the scopes of the address."""
    leave_note(config_dir / "run/daemon.json", admin_socket=str(config_dir / "gone"), url=script.address)
    script.on("GET", "/v1/models", {"data": []})
    assert xserve("list", "--config-dir", str(config_dir)).code == 0


def test_over_the_admin_socket(config_dir: Path, unix_script: Script, xserve: Xserve) -> None:
    unix_script.on("GET", "/v1/models", {"data": []})
    assert xserve("list", "--config-dir", str(config_dir)).code == 0
    assert xserve("list", "--endpoint", unix_script.address).code == 0
    assert len(unix_script.requests) == 2


def test_two_places_at_once_are_a_usage_error(xserve: Xserve) -> None:
    assert xserve("list", "--config-dir", "x", "--endpoint", "http://x:1").code == 2

"""Where the layers lie, and what becomes of the runtime layer after a boot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xserve.files.layers import Layers


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers.find(tmp_path / "conf", {})


def boot(tmp_path: Path, number: str) -> Path:
    path = tmp_path / "boot_id"
    path.write_text(f"{number}\n")
    return path


def test_a_config_directory_holds_all_layers(tmp_path):
    expected = Layers(tmp_path, tmp_path / "state", tmp_path / "run")

    assert Layers.find(tmp_path, {}) == expected
    assert Layers.find(None, {"XSERVE_CONFIG_DIR": str(tmp_path)}) == expected


def test_a_relative_config_directory_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert Layers.find("conf", {}).admin == tmp_path / "conf"


def test_the_system_has_its_usual_places(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert Layers.find(None, {}) == Layers(Path("/etc/xserve"), Path("/var/lib/xserve"), Path("/run/xserve"))


def test_systemd_says_where_the_places_are():
    environ = {"STATE_DIRECTORY": "/s/one:/s/two", "RUNTIME_DIRECTORY": "/r", "CONFIGURATION_DIRECTORY": "/c"}

    assert Layers.find(None, environ) == Layers(Path("/c"), Path("/s/one"), Path("/r"))


def test_a_user_has_the_places_of_xdg(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert Layers.find(None, {"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/1000"}) == Layers(
        Path("/h/.config/xserve"), Path("/h/.local/state/xserve"), Path("/run/user/1000/xserve")
    )
    assert Layers.find(None, {"HOME": "/h", "XDG_CONFIG_HOME": "/x", "XDG_STATE_HOME": "/y"}) == Layers(
        Path("/x/xserve"), Path("/y/xserve"), Path("/y/xserve/run")
    )


def test_prepare_makes_what_is_missing(layers, tmp_path):
    layers.prepare(boot(tmp_path, "1"))
    layers.prepare(boot(tmp_path, "1"))

    made = {str(path.relative_to(layers.admin)) for path in layers.admin.rglob("*") if path.is_dir()}
    assert made == {"models.d", "state", "state/models.d", "state/deploy.d", "run", "run/models.d", "run/deploy.d"}
    assert layers.state.stat().st_mode & 0o777 == 0o700


def test_the_runtime_layer_survives_a_restart_but_not_a_boot(layers, tmp_path):
    layers.prepare(boot(tmp_path, "1"))
    file = layers.writable("model", persist=False) / "a.json"
    kept = layers.writable("model", persist=True) / "a.json"
    for path in (file, kept):
        path.write_text("{}")

    layers.prepare(boot(tmp_path, "1"))
    assert file.exists()
    layers.prepare(boot(tmp_path, "2"))
    assert not file.exists()
    assert file.parent.is_dir()
    assert kept.exists()


def test_emptying_the_runtime_layer_follows_no_link(layers, tmp_path):
    layers.prepare(boot(tmp_path, "1"))
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "x").touch()
    (layers.run / "link").symlink_to(treasure)

    layers.prepare(boot(tmp_path, "2"))

    assert (treasure / "x").exists()
    assert not (layers.run / "link").is_symlink()


def test_every_place_that_is_written_to_is_read(layers, tmp_path):
    read = {(source.kind, source.path) for source in layers.sources(tmp_path)}

    for persist in (True, False):
        for kind in ("model", "deploy"):
            assert (kind, str(layers.writable(kind, persist=persist))) in read
    definitions, deploy = layers.drop_here()
    assert {("model", definitions), ("deploy", deploy)} <= read


def test_directories_behind_links_are_watched_too(layers, tmp_path):
    layers.prepare(boot(tmp_path, "1"))
    elsewhere = layers.admin / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.yaml").touch()
    (layers.admin / "models.d" / "a.yaml").symlink_to("../elsewhere/a.yaml")

    watched = layers.watched()

    assert {str(layers.admin), str(layers.admin / "models.d"), str(elsewhere)} <= set(watched)

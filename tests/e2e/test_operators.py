"""What an operator does to a daemon beside editing models: where it listens, what it is given, where it is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .conftest import Serve
from .daemon import PATIENCE, XSERVE, ServedDaemon
from .files import Config, definition, place


def serve_in_vain(*words: str) -> subprocess.CompletedProcess[str]:
    """`xserve serve` that is expected to give up at once."""
    return subprocess.run([*XSERVE, "serve", *words], capture_output=True, text=True, timeout=120)


class TestListening:
    """The admin socket is always there; the public listener is a port or a socket."""

    def test_the_admin_socket_answers(self, serve: Serve) -> None:
        daemon = serve()
        path = str(daemon.contact()["admin_socket"])
        listed = subprocess.run([*XSERVE, "status", "-e", f"unix:{path}"], capture_output=True, text=True, timeout=120)
        assert listed.returncode == 0, listed.stderr
        daemon.leave()
        assert not os.path.exists(path), "the admin socket outlived its daemon"

    def test_commands_find_a_daemon_that_listens_on_a_socket_only(self, files: Config, tmp_path: Path) -> None:
        files.define("base")
        files.deploy_fake("chat", model="base")
        public = tmp_path / "public.sock"
        daemon = ServedDaemon(files.directory, {"uds": str(public)})
        try:
            assert daemon.run("wait", "--timeout", "60").returncode == 0
            said = subprocess.run(
                [*XSERVE, "generate", "chat", "hello there", "-e", f"unix:{public}"],
                capture_output=True,
                text=True,
                timeout=120,
            )
        finally:
            daemon.leave()
        assert "hello there" in said.stdout, said.stderr


class TestCannotServe:
    """One sentence that says what to change, and no traceback."""

    def test_a_port_that_is_none_is_a_usage_error(self, config: Path) -> None:
        refused = serve_in_vain("--config-dir", str(config), "--port", "99999")
        assert refused.returncode == 2
        assert "65535" in refused.stderr
        assert "Traceback" not in refused.stderr

    def test_a_config_directory_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        place = tmp_path / "file"
        place.write_text("")
        refused = serve_in_vain("--config-dir", str(place), "--port", "0")
        assert refused.returncode == 1
        assert refused.stderr.splitlines() == [f"xserve: cannot use {place}/state: Not a directory"]


@pytest.mark.parametrize("command", ["check", "plan"])
def test_a_config_directory_that_is_not_there_is_no_success(command: str, tmp_path: Path) -> None:
    """A slip in a path must not look like a clean bill."""
    nowhere = tmp_path / "nowhere"
    asked = subprocess.run(
        [*XSERVE, command, "--json", "--config-dir", str(nowhere)], capture_output=True, text=True, timeout=120
    )
    assert asked.returncode == 1
    assert json.loads(asked.stdout)["problems"][0]["text"] == f"{nowhere}: there is no such directory"


def test_wait_bears_with_a_daemon_that_is_about_to_start(files: Config, serve: Serve) -> None:
    """`systemctl start` and `wait`, one after the other, need no pause between them."""
    files.define("base")
    files.deploy_fake("chat", model="base")
    waiting = subprocess.Popen([*XSERVE, "wait", "--config-dir", str(files.directory)], stdout=subprocess.PIPE)
    serve()
    said, _ = waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert b"chat: ready" in said


def test_problems_of_entries_have_their_line_in_check_and_in_status(files: Config, serve: Serve) -> None:
    """Also where the public name holds a dot, as names of models do."""
    files.define("base")
    files.deploy_file.write_text(
        "version: 1\nmodels:\n"
        "  base: {engine: fake}\n"
        "  qwen2.5: {engine: fake, model: base, aliases: [base]}\n"
        "  other: {engine: fake, model: base, options: {tokns: 1}}\n"
    )
    daemon = serve()
    checked = daemon.run("check").stdout + daemon.run("check").stderr
    assert f"{files.deploy_file}:4:40: models.qwen2.5.aliases: " in checked
    assert f"{files.deploy_file}:5:48: models.other.options.tokns: " in checked
    assert daemon.status()["problems"][0]["line"] == 4


def test_what_strangers_send_is_no_news_for_the_log(serve: Serve) -> None:
    """Neither garbage nor a WebSocket handshake makes lines there, let alone advice to install packages."""
    daemon = serve()
    address = urlsplit(daemon.url)
    upgrade = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    for sent, answer in ((b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 400"), (upgrade, b"HTTP/1.1 200")):
        with socket.create_connection((str(address.hostname), address.port or 0), timeout=PATIENCE) as talk:
            talk.sendall(sent)
            assert talk.recv(4096).startswith(answer)
    daemon.leave()
    assert "WARNING" not in daemon.log()


class TestEnvironment:
    """Deploy files set what they like; callers only what the settings allow, as some variables load code."""

    def test_a_launch_cannot_preload_a_library(self, daemon: ServedDaemon) -> None:
        body = {"model_name": "base", "model_uid": "mine", "model_engine": "fake"}
        status, answer = daemon.post("/v1/models", {**body, "envs": {"LD_PRELOAD": "/tmp/any.so"}})
        assert (status, answer["error"]["param"]) == (400, "envs")
        assert "LD_PRELOAD" in answer["detail"]
        assert daemon.model("mine") == {}

    def test_a_launch_sets_what_is_allowed(self, daemon: ServedDaemon) -> None:
        body = {"model_name": "base", "model_uid": "mine", "model_engine": "fake"}
        assert daemon.post("/v1/models", {**body, "envs": {"TZ": "Asia/Tokyo"}})[0] == 200
        assert b"TZ=Asia/Tokyo" in Path(f"/proc/{daemon.pid_of('mine')}/environ").read_bytes().split(b"\0")

    def test_a_name_that_no_variable_can_have_is_rejected_at_its_line(self, files: Config) -> None:
        files.define("base")
        files.deploy_file.write_text("version: 1\nmodels:\n  base:\n    env: {'A=B': c}\n")
        checked = subprocess.run(
            [*XSERVE, "check", "--config-dir", str(files.directory)], capture_output=True, text=True, timeout=120
        )
        assert checked.returncode == 1
        assert (
            f"{files.deploy_file}:4:11: models.base.env.A=B: 'A=B' cannot name an environment"
            in checked.stderr + checked.stdout
        )


def test_a_launch_that_was_taken_back_is_nothing_to_wait_for(daemon: ServedDaemon) -> None:
    """Somebody's failed attempt must not fail the next deployment's `wait`; asked by name it is told."""
    assert daemon.run("launch", "-n", "base", "-u", "bad", "-en", "fake", "--exit_code", "3").returncode == 1
    assert daemon.model("bad")["state"] == "failed"
    assert daemon.run("wait", "--timeout", "60").stdout == "chat: ready\n"
    assert daemon.run("wait", "--model", "bad", "--timeout", "60").returncode == 1


class TestCheckInCompany:
    """A definition is judged together with the entries that it serves."""

    def check(self, files: Config, candidate: dict[str, object]) -> subprocess.CompletedProcess[str]:
        path = files.directory.parent / "tmpab12cd"
        path.write_text(json.dumps(candidate))
        words = [*XSERVE, "check", str(path), "--config-dir", str(files.directory)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120)

    def test_an_entry_that_the_candidate_would_leave_without_a_spec_is_told_at_its_line(self, files: Config) -> None:
        files.define("base")
        files.deploy_file.write_text("version: 1\nmodels:\n  chat: {engine: fake, model: base, quantization: Q4_1}\n")
        weights = files.directory / "weights.gguf"
        assert self.check(files, definition("base", weights)).returncode == 0
        changed = definition("base", weights)
        changed["model_specs"][0]["quantization"] = "Q8_0"
        told = self.check(files, changed)
        assert told.returncode == 1
        assert f"{files.deploy_file}:3:3: models.chat: 'base' has no spec with quantization Q4_1" in told.stderr

    def test_weights_on_a_hub_are_a_warning_as_nothing_downloads_them(self, files: Config) -> None:
        candidate = definition("base", "/x.gguf")
        del candidate["model_specs"][0]["model_uri"]
        candidate["model_specs"][0] |= {"model_id": "some/model", "model_file_name_template": "x-{quantization}.gguf"}
        told = self.check(files, candidate)
        assert told.returncode == 0
        assert "warning: model_specs.0: downloads are not supported yet; give model_uri" in told.stderr + told.stdout


def test_an_emptied_list_of_models_is_no_fault_and_takes_all_away(files: Config, daemon: ServedDaemon) -> None:
    place(files.deploy_file, "version: 1\nmodels:\n")
    daemon.wait_gone("chat")
    assert daemon.status()["problems"] == []

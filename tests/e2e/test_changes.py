"""What each kind of change does to what runs. The engine is the fake one: nothing here depends on a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .conftest import Serve
from .daemon import ServedDaemon, wait_until
from .files import Config, place

watching = pytest.mark.parametrize("watch", [True, False], ids=["watching", "not-watching"])


def starts(daemon: ServedDaemon) -> int:
    """How many replicas were ever started."""
    events = daemon.get("/xserve/v1/events")[1]["events"]
    return sum(1 for event in events if event["data"].get("action") == "start")


@watching
def test_a_drop_is_served_and_a_removal_ends_it_watched_or_not(files: Config, serve: Serve, watch: bool) -> None:
    """Events only make it faster: without them the periodic look does the same."""
    daemon = serve(watch=watch, resync="200ms")
    files.define("base")
    files.deploy_fake("chat", model="base")
    daemon.wait_state("chat", "ready")
    status, reply = daemon.post("/v1/completions", {"model": "chat", "prompt": "hello"})
    assert (status, reply["model"]) == (200, "chat")
    files.retire("chat")
    daemon.wait_gone("chat")
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "hello"})[0] == 404


def test_touch_comment_and_format_restart_nothing(files: Config, daemon: ServedDaemon) -> None:
    pid, path = daemon.pid_of("chat"), files.directory / "models.d" / "base.json"
    content = json.loads(path.read_text())

    os.utime(path)
    daemon.run("reload")
    place(path, "# a comment, and YAML now\n" + json.dumps(content, indent=4) + "\n")
    place(files.deploy_file, "# reformatted\nversion: 1\nmodels: {chat: {model: base, engine: fake}}\n")
    daemon.run("reload")

    assert daemon.pid_of("chat") == pid
    assert starts(daemon) == 1


def test_alias_and_limit_change_live(files: Config, daemon: ServedDaemon) -> None:
    pid = daemon.pid_of("chat")
    files.deploy_fake("chat", model="base", aliases=["other"], request_limit=3)
    wait_until(lambda: daemon.model("chat")["request_limit"] == 3, "the limit is in force")
    status, reply = daemon.post("/v1/completions", {"model": "other", "prompt": "hello"})
    assert (status, reply["model"]) == (200, "chat")
    assert daemon.pid_of("chat") == pid
    files.deploy_fake("chat", model="base")
    wait_until(lambda: daemon.post("/v1/completions", {"model": "other", "prompt": "x"})[0] == 404, "the alias is gone")
    assert daemon.pid_of("chat") == pid


def test_a_changed_option_replaces_the_replica_new_before_old(files: Config, daemon: ServedDaemon) -> None:
    """The old replica answers until the new one is ready; then it leaves."""
    before = daemon.model("chat")
    files.deploy_fake("chat", model="base", options={"load": 1.0})
    updating = daemon.wait_state("chat", "updating")
    assert updating["ready"] == 1
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})[0] == 200
    after = daemon.wait_state("chat", "ready")
    assert after["revision"] != before["revision"]
    wait_until(lambda: len(daemon.model("chat")["instances"]) == 1, "the old replica left")
    assert daemon.pid_of("chat") != before["instances"][0]["pid"]


def test_a_change_that_cannot_start_leaves_the_old_revision_serving(files: Config, daemon: ServedDaemon) -> None:
    pid = daemon.pid_of("chat")
    files.deploy_fake("chat", model="base", options={"exit_code": 64})
    failed = daemon.wait_state("chat", "failed")
    assert failed["reason"] == "NeverStarts"
    assert "the previous revision serves on" in failed["message"]
    assert daemon.pid_of("chat") == pid
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})[0] == 200
    files.deploy_fake("chat", model="base")
    assert daemon.wait_state("chat", "ready")["instances"][0]["pid"] == pid


def test_replicas_come_and_go(files: Config, daemon: ServedDaemon) -> None:
    files.deploy_fake("chat", model="base", replicas=3)
    wait_until(lambda: daemon.model("chat")["ready"] == 3, "three replicas are ready")
    files.deploy_fake("chat", model="base", replicas=1)
    wait_until(lambda: len(daemon.model("chat")["instances"]) == 1, "two have left")
    files.deploy_fake("chat", model="base", replicas=0)
    daemon.wait_state("chat", "disabled")
    wait_until(lambda: not daemon.model("chat")["instances"], "none is left")
    assert daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})[0] == 503


def test_an_entry_waits_for_its_definition_and_for_its_weights(files: Config, serve: Serve) -> None:
    """Configuration managers copy one file after the other, in any order."""
    daemon = serve()
    files.deploy_fake("chat", model="late")
    wait_until(lambda: daemon.model("chat").get("reason") == "NoDefinition", "it waits for the definition")
    path = files.directory / "late.gguf"
    files.define("late", path)
    wait_until(lambda: daemon.model("chat")["reason"] == "NoWeights", "it waits for the weights")
    assert str(path) in daemon.model("chat")["message"]
    status, refused = daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})
    assert (status, str(path) in refused["detail"]) == (503, True)
    path.write_bytes(b"GGUF" + bytes(64))
    daemon.wait_state("chat", "ready")


def test_bad_options_wait_with_the_nearest_valid_name(files: Config, daemon: ServedDaemon) -> None:
    pid = daemon.pid_of("chat")
    files.deploy_fake("chat", model="base", options={"first_tokn": 1})
    waiting = daemon.wait_state("chat", "waiting")
    assert waiting["reason"] == "BadOptions"
    assert "did you mean 'first_token'" in waiting["message"]
    assert daemon.pid_of("chat") == pid


def test_a_broken_deploy_file_changes_nothing(files: Config, daemon: ServedDaemon) -> None:
    """Half a deploy file is a deploy file without the other half: it must not count."""
    pid = daemon.pid_of("chat")
    files.deploy_file.write_text("version: 1\nmodels:\n  chat:\n    modle: base\n")
    [problem] = wait_until(lambda: daemon.status()["problems"], "it is reported")
    assert (problem["line"], problem["column"]) == (4, 5)
    assert "did you mean 'model'" in problem["message"]
    assert daemon.pid_of("chat") == pid
    assert daemon.run("reload").returncode == 1


def test_two_files_with_one_name_leave_the_first_in_place(files: Config, daemon: ServedDaemon) -> None:
    pid, second = daemon.pid_of("chat"), files.directory / "models.d" / "aaa.json"
    place(second, (files.directory / "models.d" / "base.json").read_text())
    [problem] = wait_until(lambda: daemon.status()["problems"], "the second file is reported")
    assert (problem["path"], "base.json" in problem["message"]) == (str(second), True)
    assert daemon.pid_of("chat") == pid


def test_a_second_daemon_on_the_directory_refuses(files: Config, daemon: ServedDaemon) -> None:
    """Exit code 5, naming the process that serves it; the first is untouched."""
    second = daemon.run("serve")
    assert second.returncode == 5
    assert str(daemon.process.pid) in second.stderr
    assert daemon.get("/livez")[0] == 200


def test_listening_beyond_loopback_needs_plain_words(files: Config, tmp_path: Path) -> None:
    daemon = ServedDaemon(files.directory, {"host": "0.0.0.0"})
    assert daemon.process.wait(60) == 1
    assert "insecure_no_auth" in daemon.log()

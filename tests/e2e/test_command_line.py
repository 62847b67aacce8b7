"""The command line against a real daemon: what it prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .conftest import Serve
from .daemon import XSERVE, ServedDaemon, wait_until
from .files import Config, definition, place


def xserve(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    """The command, without a daemon."""
    return subprocess.run([*XSERVE, *words], capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload]


def actions_of(daemon: ServedDaemon, after: int) -> list[tuple[str, str, str]]:
    """What the daemon did since an event, as (action, model, reason)."""
    rows = [event["data"] for event in daemon.get(f"/xserve/v1/events?after={after}")[1]["events"]]
    return [(row["action"], row["model"], row["reason"]) for row in rows if "action" in row]


def last_event(daemon: ServedDaemon) -> int:
    return int(daemon.get("/xserve/v1/events")[1]["events"][-1]["id"])


class TestCheck:
    """No daemon is needed."""

    def test_a_nameless_file_with_a_bad_field_is_told_with_its_place(self, config: Path, tmp_path: Path) -> None:
        """Configuration managers hand over a temporary file: exit 1, line, column, field, nearest valid name."""
        candidate = tmp_path / "tmpab12cd"
        text = json.dumps(definition("x", "/nowhere.gguf"), indent=2).replace("context_length", "context_lenght")
        candidate.write_text(text)
        checked = xserve("check", str(candidate), "--config-dir", str(config))
        assert checked.returncode == 1
        line = next(number for number, row in enumerate(text.splitlines(), 1) if "context_lenght" in row)
        expected = f"{candidate}:{line}:3: context_lenght: unknown key 'context_lenght'; did you mean 'context_length'?"
        assert expected in checked.stdout + checked.stderr

    def test_weights_that_are_not_there_are_a_warning_or_with_strict_an_error(self, tmp_path: Path) -> None:
        candidate = tmp_path / "model"
        place(candidate, definition("x", "/nowhere.gguf"))
        assert xserve("check", str(candidate), "--config-dir", str(tmp_path)).returncode == 0
        strict = xserve("check", str(candidate), "--strict", "--config-dir", str(tmp_path))
        assert strict.returncode == 1
        assert "/nowhere.gguf" in strict.stdout + strict.stderr

    def test_a_deploy_file_is_judged_among_the_definitions_that_are_there(self, files: Config, tmp_path: Path) -> None:
        files.define("base")
        candidate = tmp_path / "tmpxy"
        place(candidate, "version: 1\nmodels:\n  chat: {model: base, engine: fake,\n    options: {tokns: 3}}\n")
        checked = xserve("check", str(candidate), "--config-dir", str(files.directory), "--json")
        assert checked.returncode == 1
        [problem] = json.loads(checked.stdout)["problems"]
        assert (problem["line"], problem["field"]) == (4, "models.chat.options.tokns")
        assert "did you mean 'tokens'" in problem["message"]

    def test_a_whole_config_directory_can_be_checked(self, files: Config) -> None:
        files.define("base")
        files.deploy_fake("chat", model="base")
        assert xserve("check", "--config-dir", str(files.directory)).returncode == 0
        (files.directory / "models.d" / "base.json").write_text("{")
        assert xserve("check", "--config-dir", str(files.directory)).returncode == 1


class TestPlan:
    """`plan` says what the daemon then does."""

    def test_nothing_to_do_is_zero_and_without_a_daemon_all_would_start(self, files: Config) -> None:
        files.define("base")
        planned = xserve("plan", "--config-dir", str(files.directory))
        assert planned.returncode == 0
        files.deploy_fake("chat", model="base")
        planned = xserve("plan", "--config-dir", str(files.directory))
        assert planned.returncode == 3
        assert "start" in planned.stdout

    def test_a_candidate_is_planned_and_then_done_exactly_so(
        self, files: Config, daemon: ServedDaemon, tmp_path: Path
    ) -> None:
        assert daemon.run("plan").returncode == 0
        candidate = tmp_path / "new.yaml"
        entries = {
            "chat": {"model": "base", "engine": "fake", "options": {"tokens": 3}, "aliases": ["other"]},
            "second": {"model": "base", "engine": "fake", "replicas": 2},
        }
        place(candidate, {"version": 1, "models": entries})
        planned = daemon.run("plan", "--with", str(candidate), "--as", str(files.deploy_file), "--json")
        assert planned.returncode == 3, planned.stderr
        promised = [(row["action"], row["model"], row["reason"]) for row in json.loads(planned.stdout)["actions"]]
        before = last_event(daemon)
        place(files.deploy_file, candidate.read_text())
        daemon.wait_state("second", "ready")
        wait_until(lambda: len(actions_of(daemon, before)) >= len(promised), "the daemon did what it promised")
        assert sorted(actions_of(daemon, before)) == sorted(promised)
        assert daemon.run("plan").returncode == 0


class TestWait:
    """0 when ready, 1 when it cannot be, 4 when time is up."""

    def test_ready(self, daemon: ServedDaemon) -> None:
        assert daemon.run("wait", "--model", "chat", "--timeout", "60").returncode == 0

    def test_a_file_dropped_just_now(self, files: Config, daemon: ServedDaemon) -> None:
        files.deploy_fake("second", model="base", options={"load": 0.5})
        files.deploy_fake("chat", model="base")
        assert daemon.run("wait", "--timeout", "60").returncode == 0
        assert daemon.model("second")["state"] == "ready"

    def test_too_late(self, files: Config, daemon: ServedDaemon) -> None:
        files.deploy_fake("chat", model="base", options={"never_ready": True})
        assert daemon.run("wait", "--model", "chat", "--timeout", "1").returncode == 4

    def test_unknown_and_rejected(self, files: Config, daemon: ServedDaemon) -> None:
        assert daemon.run("wait", "--model", "nobody", "--timeout", "60").returncode == 1
        files.deploy_file.write_text("version: 1\nmodels: [")
        rejected = daemon.run("wait", "--timeout", "60")
        assert rejected.returncode == 1
        assert "deploy.yaml:" in rejected.stderr


def test_status_logs_events_and_engines_speak_and_are_json_on_demand(daemon: ServedDaemon) -> None:
    for words, expected in (
        (["status"], "chat"),
        (["logs", "chat"], "fake: serving chat"),
        (["events"], "replica 0 is ready"),
        (["engines"], "llama_cpp"),
        (["engines", "base"], "fake"),
        (["list"], "chat"),
        (["registrations"], "base"),
        (["reload"], ""),
    ):
        plain = daemon.run(*words)
        assert plain.returncode == 0, (words, plain.stderr)
        assert expected in plain.stdout + plain.stderr
        machine = daemon.run(*words, "--json")
        assert machine.returncode == 0, (words, machine.stderr)
        json.loads(machine.stdout)


def test_xinferences_commands_write_files_and_take_them_back(
    files: Config, daemon: ServedDaemon, tmp_path: Path
) -> None:
    """register, launch, terminate, unregister: persisted ones survive a restart of the daemon."""
    path = tmp_path / "mine.json"
    place(path, definition("mine", files.directory / "weights.gguf"))
    registered = daemon.run("register", "--model-type", "LLM", "--file", str(path), "--persist")
    assert registered.returncode == 0, registered.stderr
    launched = daemon.run("launch", "-n", "mine", "-u", "my-uid", "-en", "fake", "--tokens", "3", "--persist")
    assert launched.returncode == 0, launched.stderr
    assert daemon.model("my-uid")["state"] == "ready"
    assert list((files.directory / "state" / "deploy.d").glob("my-uid-*.json"))
    said = daemon.run("generate", "--model-uid", "my-uid", input="hello there my friend\n")
    assert "hello there" in said.stdout, said.stderr

    assert daemon.run("terminate", "--model-uid", "chat").returncode == 1
    assert daemon.run("unregister", "--model-type", "LLM", "--model-name", "base").returncode == 1
    assert daemon.run("terminate", "--model-uid", "my-uid").returncode == 0
    daemon.wait_gone("my-uid")
    assert daemon.run("unregister", "--model-type", "LLM", "--model-name", "mine").returncode == 0
    assert not list((files.directory / "state" / "models.d").glob("*.json"))


def test_a_launch_that_fails_is_taken_back_and_its_reason_stays(files: Config, daemon: ServedDaemon) -> None:
    launched = daemon.run("launch", "-n", "base", "-u", "bad", "-en", "fake", "--exit_code", "3")
    assert launched.returncode == 1
    assert "exit code 3" in launched.stderr
    assert daemon.model("bad")["state"] == "failed"
    assert not list((files.directory / "run" / "deploy.d").glob("*.json"))
    assert daemon.run("launch", "-n", "base", "-u", "bad", "-en", "fake").returncode == 0
    assert daemon.model("bad")["state"] == "ready"


def test_no_daemon_is_one_clear_sentence(tmp_path: Path) -> None:
    asked = xserve("status", "--config-dir", str(tmp_path))
    assert asked.returncode == 1
    assert "no daemon" in asked.stderr
    assert len(asked.stderr.strip().splitlines()) == 1


def test_usage_is_two() -> None:
    assert xserve("status", "--nonsense").returncode == 2


def test_plan_without_watching_tells_what_reload_then_does(files: Config, serve: Serve) -> None:
    """With watching off nothing happens until somebody asks: first what would happen, then to let it happen."""
    daemon = serve(watch=False, resync="1h")
    files.define("base")
    files.deploy_fake("chat", model="base")
    planned = daemon.run("plan", "--json")
    assert planned.returncode == 3
    promised = [(row["action"], row["model"], row["reason"]) for row in json.loads(planned.stdout)["actions"]]
    assert daemon.status()["models"] == []
    before = last_event(daemon)
    assert daemon.run("reload").returncode == 0
    assert actions_of(daemon, before) == promised

"""Engines and daemons that die, hang or refuse to leave."""

from __future__ import annotations

import json
import os
import signal
import socket
from http.client import HTTPConnection
from pathlib import Path

import pytest

from .conftest import Serve
from .daemon import ServedDaemon, wait_until
from .files import Config


def stream(daemon: ServedDaemon, model: str, prompt: str = "a b c d e f g h") -> socket.socket:
    """A streamed completion whose first bytes have arrived."""
    connection = send(daemon, {"model": model, "prompt": prompt, "stream": True})
    assert connection.recv(16, socket.MSG_PEEK)
    return connection


def send(daemon: ServedDaemon, request: dict[str, object]) -> socket.socket:
    """A completion that was asked for and not answered yet."""
    host, _, port = daemon.url.removeprefix("http://").rpartition(":")
    body = json.dumps(request)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


def in_flight(daemon: ServedDaemon) -> int:
    """Requests that the daemon has with its one replica."""
    return int(daemon.model("chat")["instances"][0]["in_flight"])


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end of the chunked body."""
    found = b""
    while not found.endswith(b"0\r\n\r\n"):
        more = connection.recv(65536)
        assert more, f"the stream was cut without an end: {found[-200:]!r}"
        found += more
    return found


class UnixConnection(HTTPConnection):
    """HTTP over the unix socket at the path given as host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def fake_state(daemon: ServedDaemon, uid: str) -> dict[str, int]:
    """The fake engine's own counters."""
    [instance] = [each for each in daemon.model(uid)["instances"] if each["state"] == "ready"]
    folder = Path(daemon.contact()["admin_socket"]).parent
    connection = UnixConnection(str(folder / f"{instance['instance']}.sock"))
    connection.request("GET", "/fake/state")
    try:
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def test_a_killed_engine_ends_its_stream_with_an_error_and_comes_back(files: Config, serve: Serve) -> None:
    """kill -9 mid-stream: an error event and a proper end for the client; the other model does not notice."""
    files.define("base")
    files.deploy_fake("chat", model="base", options={"token_interval": 0.2, "tokens": 100})
    files.deploy_fake("other", model="base")
    daemon = serve()
    daemon.wait_state("chat", "ready")
    daemon.wait_state("other", "ready")
    other, before = daemon.pid_of("other"), daemon.pid_of("chat")
    with stream(daemon, "chat") as connection:
        os.kill(before, signal.SIGKILL)
        ending = read_all(connection)
    assert b'"error"' in ending
    assert b"[DONE]" not in ending
    wait_until(lambda: daemon.model("chat")["failure"], "the failure is told")
    assert "signal 9" in daemon.model("chat")["failure"]["message"]
    daemon.wait_state("chat", "ready")
    assert daemon.pid_of("chat") != before
    assert daemon.pid_of("other") == other


def test_nothing_runs_on_after_the_daemon_is_killed(files: Config, serve: Serve) -> None:
    """kill -9 of the daemon: its engines go, also what escaped into a session of its own; the next one starts clean."""
    files.define("base")
    files.deploy_fake("chat", model="base", options={"leak_children": 2, "ignore_sigterm": True})
    daemon = serve()
    daemon.wait_state("chat", "ready")
    assert len(daemon.engine_processes()) >= 4
    daemon.kill()
    wait_until(lambda: not daemon.engine_processes(), "all engine processes are gone", 10)
    again = serve()
    again.wait_state("chat", "ready")


@pytest.mark.parametrize("option", ["load", "never_ready"])
def test_sigterm_while_loading_leaves_at_once_and_clean(files: Config, serve: Serve, option: str) -> None:
    files.define("base")
    files.deploy_fake("chat", model="base", options={option: 600 if option == "load" else True})
    daemon = serve()
    wait_until(lambda: daemon.model("chat")["instances"][0]["pid"], "the engine runs")
    assert daemon.leave() == 0
    assert daemon.engine_processes() == []
    assert not (files.directory / "run" / "daemon.json").exists()


def test_sigterm_lets_a_stream_end(files: Config, serve: Serve) -> None:
    """New work is refused, what is in flight ends properly, then the daemon leaves."""
    files.define("base")
    files.deploy_fake("chat", model="base", options={"token_interval": 0.1, "tokens": 20})
    daemon = serve()
    daemon.wait_state("chat", "ready")
    with stream(daemon, "chat") as connection:
        daemon.process.send_signal(signal.SIGTERM)
        assert b"[DONE]" in read_all(connection)
    assert daemon.leave() == 0


def test_a_second_signal_cuts_the_waiting_short(files: Config, serve: Serve) -> None:
    files.define("base")
    files.deploy_fake("chat", model="base", options={"token_interval": 1.0, "tokens": 10000})
    daemon = serve(drain_timeout="10m")
    daemon.wait_state("chat", "ready")
    with stream(daemon, "chat"):
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.get("/livez")[0] == 0, "it listens no more")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(30) == 0


def test_a_crash_loop_backs_off_gives_up_and_is_forgiven(files: Config, serve: Serve) -> None:
    """Failures in a row end in `failed`, with the log's tail; `reload` tries again; a changed entry too."""
    files.define("base")
    files.deploy_fake("chat", model="base", options={"exit_code": 3})
    daemon = serve()
    failed = daemon.wait_state("chat", "failed")
    assert failed["reason"] == "GaveUp"
    assert failed["failure"]["failures"] == 4
    assert failed["failure"]["retry_in"] is None
    status, refused = daemon.post("/v1/completions", {"model": "chat", "prompt": "x"})
    assert (status, "gave up" in refused["detail"]) == (503, True)
    assert daemon.run("wait", "--timeout", "5").returncode == 1

    daemon.run("reload")
    assert daemon.model("chat")["state"] != "failed"
    daemon.wait_state("chat", "failed")
    files.deploy_fake("chat", model="base")
    daemon.wait_state("chat", "ready")


def test_a_setting_that_can_never_work_is_not_tried_again(files: Config, serve: Serve) -> None:
    files.define("base")
    files.deploy_fake("chat", model="base", options={"exit_code": 64})
    failed = serve().wait_state("chat", "failed")
    assert (failed["reason"], failed["failure"]["failures"]) == ("NeverStarts", 1)


def test_an_engine_that_hangs_is_replaced(files: Config, serve: Serve) -> None:
    """SIGSTOP leaves a process that answers nothing and does not die of SIGTERM."""
    files.define("base")
    files.deploy_fake("chat", model="base")
    daemon = serve(health={"interval": "50ms", "deadline": "300ms", "misses": 2})
    daemon.wait_state("chat", "ready")
    before = daemon.pid_of("chat")
    os.kill(before, signal.SIGSTOP)
    wait_until(lambda: daemon.model("chat")["failure"], "the hang is noticed")
    assert daemon.model("chat")["failure"]["reason"] == "Unhealthy"
    daemon.wait_state("chat", "ready")
    assert daemon.pid_of("chat") != before
    assert not Path(f"/proc/{before}").exists()


def test_loading_for_too_long_counts_as_failed(files: Config, serve: Serve) -> None:
    files.define("base")
    files.deploy_fake("chat", model="base", options={"never_ready": True})
    daemon = serve(start_timeout="300ms")
    wait_until(lambda: daemon.model("chat")["failure"], "the timeout is noticed")
    assert daemon.model("chat")["failure"]["reason"] == "StartTimeout"


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_a_client_that_leaves_cancels_the_work(files: Config, serve: Serve, streamed: bool) -> None:
    """Queued in the engine, before the first byte, mid-stream: the engine sees the client go, its place is free."""
    files.define("base")
    files.deploy_fake("chat", model="base", options={"concurrency": 1})
    daemon = serve()
    daemon.wait_state("chat", "ready")

    working = send(daemon, {"model": "chat", "prompt": "x", "stream": streamed, "fake": {"first_token": 600}})
    queued = send(daemon, {"model": "chat", "prompt": "y", "stream": streamed})
    wait_until(lambda: in_flight(daemon) == 2, "both are with the engine")
    queued.close()
    wait_until(lambda: in_flight(daemon) == 1, "the queued one is cancelled")
    working.close()
    wait_until(lambda: fake_state(daemon, "chat")["in_flight"] == 0, "the engine saw both go")
    assert in_flight(daemon) == 0

    endless = {"tokens": 100000, "token_interval": 0.02}
    talking = send(daemon, {"model": "chat", "prompt": "z", "stream": streamed, "fake": endless})
    if streamed:
        assert talking.recv(16)
    wait_until(lambda: in_flight(daemon) == 1, "it is with the engine")
    talking.close()
    wait_until(lambda: fake_state(daemon, "chat")["in_flight"] == 0, "the engine saw the client go")
    assert fake_state(daemon, "chat")["finished"] == 1, "only the readiness probe came to its end"


def test_mass_removal_is_held_for_one_look(files: Config, serve: Serve) -> None:
    """An unmounted directory looks like this; a reload says that it is meant."""
    paths = [files.define(f"m{number}") for number in range(4)]
    files.deploy_fake("chat", model="m0")
    daemon = serve(resync="1h")
    daemon.wait_state("chat", "ready")
    pid = daemon.pid_of("chat")
    for path in paths:
        path.unlink()
    wait_until(lambda: daemon.status()["problems"], "the hold is told")
    assert daemon.pid_of("chat") == pid
    daemon.run("reload")
    wait_until(lambda: daemon.model("chat")["reason"] == "NoDefinition", "the removal counts now")

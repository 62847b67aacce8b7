"""The small HTTP client: errors are sentences, streams arrive piece by piece."""

from __future__ import annotations

import re
import socket
import threading

import pytest

from xserve.cli.client import AnswerError, Client, Event, NoDaemonError, segment
from xserve.cli.command import CommandError
from xserve.cli.locate import Target

from .scripted import Answer, Script


@pytest.fixture
def client(script: Script) -> Client:
    """A client of the scripted daemon."""
    return Client(Target((script.address,), "the script", elsewhere=True))


def test_what_is_sent(client: Client, script: Script) -> None:
    script.on("POST", "/p", {"ok": True})
    assert client.post("/p", {"名": 1}, {"model": ["a", "b/c"], "none": None}) == {"ok": True}
    assert script.requests[0].query == {"model": ["a", "b/c"]}
    assert script.requests[0].body == {"名": 1}


def test_a_name_is_one_segment_of_a_path() -> None:
    assert segment("a/b ?c") == "a%2Fb%20%3Fc"


def test_a_refusal_carries_the_daemons_sentence(client: Client, script: Script) -> None:
    script.on("GET", "/p", {"detail": "Model x already registered", "error": {}}, status=400)
    with pytest.raises(AnswerError, match=r"^Model x already registered$") as caught:
        client.get("/p")
    assert (caught.value.status, caught.value.code) == (400, 1)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(b"bad gateway\n", "bad gateway"), (b"", "the daemon answered 502 Bad Gateway"), (b"[1]", r"\[1\]")],
)
def test_a_refusal_in_another_shape_is_a_sentence_too(
    client: Client, script: Script, body: bytes, sentence: str
) -> None:
    script.on("GET", "/p", Answer(body, 502))
    with pytest.raises(AnswerError, match=f"^{sentence}$"):
        client.get("/p")


def test_an_answer_that_is_not_json(client: Client, script: Script) -> None:
    script.on("GET", "/p", Answer(b"<html>"))
    with pytest.raises(CommandError, match="is not JSON"):
        client.get("/p")


def test_events_of_a_stream(client: Client, script: Script) -> None:
    """Comments are keep-alives; several data lines are one event; a last event needs its blank line."""
    stream = b": hi\n\nid: 1\nevent: files\ndata: {\ndata: }\n\ndata:x\r\n\r\nevent: odd\n\ndata: cut"
    script.on("GET", "/p", Answer(stream))
    assert list(client.events("GET", "/p")) == [Event("files", "{\n}"), Event("message", "x")]


def test_patience_ends(script: Script) -> None:
    """A daemon that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = Client(Target((address,), "it", elsewhere=True))
        with pytest.raises(CommandError, match=r"^the daemon did not answer GET /p within 0.05 s$"):
            client.get("/p", patience=0.05)


def test_a_connection_that_breaks_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = Client(Target((f"http://127.0.0.1:{server.getsockname()[1]}",), "it", elsewhere=True))
        with pytest.raises(CommandError, match=r"^the connection to the daemon broke: "):
            client.get("/p")
        thread.join()


def test_a_daemon_that_leaves_while_it_is_told_something_is_not_taken_for_a_reader_of_ours(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken pipe of the socket is a failure; only one of stdout is quiet."""

    def break_pipe(*_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("http.client.HTTPConnection.request", break_pipe)
    with pytest.raises(CommandError, match=r"broke: .*Broken pipe"):
        client.get("/p")


@pytest.mark.parametrize("address", ["ftp://x", "http://x:port", "http://x:99999", "http://[::1"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(CommandError, match=f"^{re.escape(address)} is not an address"):
        Client(Target((address,), "it", elsewhere=True)).get("/p")


def test_a_name_that_no_host_can_have_is_a_daemon_that_does_not_answer() -> None:
    with pytest.raises(NoDaemonError):
        Client(Target(("http://a..b:9997",), "it", elsewhere=True)).get("/p")


def test_a_connection_that_times_out_while_lines_are_awaited_without_end(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives a dead peer up in the end, also where we would not."""

    def give_up(*_: object) -> None:
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr("http.client.HTTPConnection.request", give_up)
    with pytest.raises(CommandError, match=r"^the daemon did not answer GET /p in time$"):
        list(client.lines("GET", "/p"))

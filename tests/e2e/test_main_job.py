"""The main job on a real model: a file appears, changes, breaks and disappears, and the right thing happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from openai import NotFoundError, OpenAI

from .conftest import Serve
from .daemon import ServedDaemon, wait_until
from .files import Config, definition, place, weights

ClientOf = Callable[[ServedDaemon], OpenAI]
Served = tuple[Config, ServedDaemon]


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """The real client, for any daemon; closed at the end."""
    with ExitStack() as clients:
        yield lambda daemon: clients.enter_context(
            OpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0, timeout=60)
        )


def answer(client: OpenAI, question: str, *, model: str = "chat") -> str:
    reply = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=24
    )
    return reply.choices[0].message.content or ""


@pytest.fixture
def served(config: Path, serve: Serve) -> Served:
    """The real model under the name chat, ready."""
    files = Config(config)
    files.define_real("smollm2")
    files.deploy("chat", model="smollm2", aliases=["gpt-3.5-turbo"], options={"n_threads": 1})
    daemon = serve()
    daemon.wait_state("chat", "ready")
    return files, daemon


def test_a_file_becomes_an_answer_and_its_removal_ends_it(served: Served, client_of: ClientOf) -> None:
    """Completion, chat and stream through the OpenAI client; then the definition goes, and everything it started."""
    files, daemon = served
    client = client_of(daemon)

    completion = client.completions.create(model="chat", prompt="The capital of France is", max_tokens=3, temperature=0)
    assert "Paris" in completion.choices[0].text
    assert "5" in answer(client, "What is 2+3?")
    assert "5" in answer(client, "What is 2+3?", model="gpt-3.5-turbo")

    stream = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "What is 2+3?"}],
        temperature=0,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "5" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(chunks) > 3
    assert chunks[-1].usage is not None
    assert [model.id for model in client.models.list()] == ["chat"]

    [instance] = daemon.model("chat")["instances"]
    pid, sockets = instance["pid"], list(Path(daemon.contact()["admin_socket"]).parent.glob(f"{instance['instance']}*"))
    assert sockets
    (files.directory / "models.d" / "smollm2.json").unlink()
    wait_until(lambda: daemon.model("chat").get("reason") == "NoDefinition", "the definition's removal is noticed")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the engine's process is gone")
    wait_until(lambda: not any(path.exists() for path in sockets), "its sockets are gone")
    with pytest.raises(NotFoundError):
        answer(client, "What is 2+3?")


def test_edits_beside_a_stream_do_not_touch_it(served: Served, serve: Serve, client_of: ClientOf) -> None:
    """While a stream runs a second model comes, breaks and goes; the first keeps its process, the stream its flow.

    The broken second file serves its last good version, also after a restart of the daemon.
    """
    files, daemon = served
    client, pid = client_of(daemon), daemon.pid_of("chat")
    done, seen = threading.Event(), []

    def read_stream() -> None:
        """One stream after the other, until told to stop; every one must come to its proper end."""
        while not done.is_set():
            chunks = list(
                client.completions.create(
                    model="chat", prompt="Once upon a time", max_tokens=200, stream=True, temperature=0
                )
            )
            seen.append(chunks[-1].choices[0].finish_reason)

    reader = threading.Thread(target=read_stream)
    reader.start()
    try:
        second = files.define_real("second", model_description="the second")
        files.deploy("two", model="second", options={"n_threads": 1, "n_ctx": 512})
        daemon.wait_state("two", "ready")

        broken = json.dumps(definition("second", weights()), indent=2).replace('"model_lang"', '"model_lnag"')
        second.write_text(broken[: len(broken) // 2])
        second.write_text(broken)
        [problem] = wait_until(lambda: daemon.status()["problems"], "the broken file is reported")
        assert (problem["line"], problem["field"]) == (6, "model_lnag")
        assert "did you mean 'model_lang'" in problem["message"]
        assert f"{second}:6:3" in daemon.run("status").stdout
        assert daemon.model("two")["state"] == "ready"
        assert daemon.model("two")["stale"] is True
        assert "5" in answer(client, "What is 2+3?", model="two")
        assert daemon.pid_of("chat") == pid
    finally:
        done.set()
        reader.join()
    assert seen
    assert set(seen) == {"length"}

    assert daemon.leave() == 0
    again = serve()
    assert again.wait_state("two", "ready")["stale"] is True
    assert "5" in answer(client_of(again), "What is 2+3?", model="two")
    second.unlink()
    wait_until(lambda: again.model("two")["reason"] == "NoDefinition", "the deletion is obeyed")
    place(second, definition("second", weights(), chat_template=None))
    again.wait_state("two", "ready")

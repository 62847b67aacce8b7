"""The shim's control socket: who may speak, what may be said, and how a tree passes to another daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from xserve.core.events import Answered, Spawned
from xserve.runtime.records import write_json
from xserve.runtime.replica import _SHIM
from xserve.runtime.shim.spec import Policy, Spec

from .conftest import QUICK, SERVER, Bench, command, launch, lives, until


class Caller:
    """A peer on the control socket."""

    def __init__(self, bench: Bench, nonce: str | None = None) -> None:
        self.nonce = nonce or json.loads((bench.directory() / "intent.json").read_text())["nonce"]
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(bench.sockets / "one.ctl"))
        self.lines = self.socket.makefile("rb")

    def ask(self, what: str, **more: object) -> Any:
        self.socket.sendall(json.dumps({"do": what, "nonce": self.nonce, **more}).encode() + b"\n")
        return self.hear()

    def hear(self) -> Any:
        """The next message; None: the shim hung up."""
        line = self.lines.readline()
        return json.loads(line) if line else None

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@pytest.fixture
async def caller(bench: Bench) -> AsyncIterator[Caller]:
    """A peer that knows the nonce, while an engine runs."""
    bench.runtime.start("one", launch(), command("--ignore-term", grace=3600.0))
    await bench.event(Answered)
    caller = Caller(bench)
    yield caller
    caller.close()
    bench.runtime.stop("one", now=True)
    await bench.exit()


async def test_status_names_the_processes(bench: Bench, caller: Caller) -> None:
    answer = caller.ask("status")
    spawned = await bench.event(Spawned)

    assert isinstance(spawned, Spawned)
    assert (answer["instance"], answer["state"], answer["policy"]) == ("one", "running", "stop")
    assert answer["engine"]["pid"] == spawned.pid
    assert {key: answer[key] for key in ("boot", "shim", "engine")} == json.loads(
        (bench.directory() / "fact.json").read_text()
    )


async def test_a_wrong_nonce_is_refused_and_the_line_is_cut(bench: Bench, caller: Caller) -> None:
    stranger = Caller(bench, nonce="guess")

    assert stranger.ask("kill") == {"error": "wrong nonce"}
    assert stranger.hear() is None
    assert caller.ask("status")["state"] == "running"
    stranger.close()


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\n",
        b"[1]\n",
        b"[" * 60_000 + b"\n",
        b"x" * 200_000,
        b'{"do": "stop", "grace": "soon"}\n',
        b'{"do": "stop", "grace": 1' + b"0" * 400 + b"}\n",
        b"\xff\n",
    ],
    ids=["words", "list", "nested", "endless", "no figure", "no float", "bytes"],
)
async def test_nonsense_ends_the_talk_and_not_the_engine(bench: Bench, caller: Caller, said: bytes) -> None:
    stranger = Caller(bench)
    said = said.replace(b"{", b'{"nonce": "%s", ' % stranger.nonce.encode())
    try:
        stranger.socket.sendall(said)
        assert stranger.hear() is None
    except ConnectionError:
        pass  # cut before all was said
    stranger.close()

    assert caller.ask("status")["state"] == "running"


async def test_an_unknown_request_is_answered_so(caller: Caller) -> None:
    assert caller.ask("dance") == {"error": "unknown request 'dance'"}


async def test_stop_with_a_shorter_grace_and_kill(bench: Bench, caller: Caller) -> None:
    assert caller.ask("stop", grace=3600)["state"] == "stopping"
    assert caller.ask("stop", grace=0.1)["state"] == "stopping"
    end = await bench.exit()

    assert end.sentence == "It had not left 0.1 s after SIGTERM and was killed."


async def test_a_grace_of_centuries_is_only_a_long_one(bench: Bench, caller: Caller) -> None:
    """The kernel waits for some weeks at most; asking it for more must not end the shim."""
    assert caller.ask("stop", grace=1e300)["state"] == "stopping"
    assert caller.ask("stop", grace=0.1)["state"] == "stopping"

    assert (await bench.exit()).sentence == "It had not left 0.1 s after SIGTERM and was killed."


async def test_kill_waits_for_nothing(bench: Bench, caller: Caller) -> None:
    assert caller.ask("kill")["state"] == "stopping"
    assert (await bench.exit()).signal == signal.SIGKILL


class Kept:
    """A shim without a LocalRuntime: the test holds the daemon's end of the link."""

    def __init__(self, bench: Bench, policy: Policy, adopt_timeout: float) -> None:
        self.bench = bench
        directory = bench.directory()
        directory.mkdir()
        self.spec = Spec(
            instance="one", digest="d", nonce="n", policy=policy, adopt_timeout=adopt_timeout,
            argv=[QUICK.python, "-I", "-S", SERVER, str(bench.sockets / "one.sock")], env={}, grace=3600.0,
            directory=str(directory), log=str(directory / "log"), log_max_bytes=1000, log_keep=1,
            socket=str(bench.sockets / "one.sock"), control=str(bench.sockets / "one.ctl"),
        )  # fmt: skip
        write_json(str(directory / "spec.json"), self.spec._asdict())

    async def start(self) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                QUICK.python, "-I", "-S", _SHIM, str(self.bench.directory() / "spec.json"), stdin=theirs.fileno()
            )
        self.link = ours
        ours.setblocking(False)
        spawned = json.loads(await asyncio.get_running_loop().sock_recv(ours, 4096))
        self.engine = spawned["engine"]["pid"]
        return process

    def record(self) -> Any:
        return json.loads((self.bench.directory() / "exit.json").read_text())


async def test_a_kept_engine_passes_to_the_daemon_that_adopts_it_and_dies_with_that_one(bench: Bench) -> None:
    kept = Kept(bench, "keep", adopt_timeout=3600.0)
    shim = await kept.start()
    kept.link.close()
    first = Caller(bench)
    assert first.ask("adopt")["engine"]["pid"] == kept.engine
    second = Caller(bench)
    assert second.ask("adopt")["state"] == "running"
    first.close()
    assert second.ask("status")["state"] == "running", "the first one is not the daemon any more"
    os.kill(kept.engine, signal.SIGTERM)
    told = second.hear()
    await shim.wait()
    second.close()

    assert (told["event"], told["signal"]) == ("exited", signal.SIGTERM)
    assert kept.record()["reason"] == "by itself"


async def test_an_orphan_says_so_until_it_is_adopted(bench: Bench) -> None:
    kept = Kept(bench, "keep", adopt_timeout=3600.0)
    shim = await kept.start()
    caller = Caller(bench)
    assert caller.ask("status")["state"] == "running"
    kept.link.close()
    await until(lambda: caller.ask("status")["state"] == "orphaned", "the shim has seen the daemon's end")
    assert caller.ask("adopt")["state"] == "running"
    assert caller.ask("kill")["state"] == "stopping"
    await shim.wait()
    caller.close()


async def test_a_kept_engine_that_nobody_adopts_stops(bench: Bench) -> None:
    kept = Kept(bench, "keep", adopt_timeout=0.0)
    shim = await kept.start()
    assert lives(kept.engine)
    kept.link.close()
    await shim.wait()

    assert not lives(kept.engine)
    assert kept.record()["reason"] == "not adopted"


async def test_the_exit_of_a_kept_engine_waits_on_disk_for_the_next_daemon(bench: Bench) -> None:
    kept = Kept(bench, "keep", adopt_timeout=3600.0)
    shim = await kept.start()
    kept.link.close()
    os.kill(kept.engine, signal.SIGSEGV)
    await shim.wait()

    assert (kept.record()["code"], kept.record()["signal"]) == (None, signal.SIGSEGV)


async def test_an_adopted_engine_is_kept_again_when_its_new_daemon_dies(bench: Bench) -> None:
    kept = Kept(bench, "keep", adopt_timeout=3600.0)
    shim = await kept.start()
    kept.link.close()
    first = Caller(bench)
    first.ask("adopt")
    first.close()
    again = Caller(bench)
    assert again.ask("adopt")["state"] == "running"
    assert again.ask("kill")["state"] == "stopping"
    await shim.wait()
    again.close()


async def test_with_the_policy_stop_the_end_of_the_link_ends_the_engine(bench: Bench) -> None:
    kept = Kept(bench, "stop", adopt_timeout=3600.0)
    shim = await kept.start()
    kept.link.close()
    await shim.wait()

    assert kept.record()["reason"] == "daemon gone"


async def test_an_engine_dies_with_its_shim(bench: Bench, sockets: Path) -> None:
    """The parent-death signal: not even SIGKILL of the shim leaves the engine running."""
    kept = Kept(bench, "keep", adopt_timeout=3600.0)
    shim = await kept.start()
    shim.kill()
    await shim.wait()
    await until(lambda: not lives(kept.engine), "the engine is gone")
    kept.link.close()
    for path in sockets.iterdir():
        path.unlink()

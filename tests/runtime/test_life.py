"""What a replica reports from its start to its end, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from xserve.core.events import Answered, Event, Exit, Exited, Loaded, Spawned, Unhealthy
from xserve.core.ports import Command
from xserve.runtime.settings import RuntimeSettings

from .conftest import PROBE, Bench, command, launch, lives, pids_in, program, until


async def test_events_come_in_order_and_the_probe_names_the_model(bench: Bench) -> None:
    bench.runtime.start("one", launch("my model"), command(probe=PROBE))
    await bench.event(Answered)
    bench.runtime.stop("one")
    end = await bench.exit()

    assert [type(event) for event in bench.events] == [Spawned, Loaded, Answered, Exited]
    assert bench.events[2] == Answered("one", probed=True)
    assert end.signal == signal.SIGTERM
    assert end.sentence == ""
    assert 'probe /v1/probe {"model": "my model", "messages": [{"name": "my model"}]}' in end.log_tail


async def test_without_a_probe_health_is_the_proof_and_the_event_says_so(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command())

    assert await bench.event(Answered) == Answered("one", probed=False)


async def test_a_refused_probe_makes_it_unhealthy_with_the_answer_in_words(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command("--probe", "500", probe=PROBE))
    event = await bench.event(Unhealthy)

    assert isinstance(event, Unhealthy)
    assert event.sentence == 'The readiness probe /v1/probe was answered with status 500: {"status": 500}'
    assert not bench.of(Answered)


async def test_spawned_names_the_engine_and_not_its_shim(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command())
    event = await bench.event(Spawned)

    assert isinstance(event, Spawned)
    assert b"server.py" in Path(f"/proc/{event.pid}/cmdline").read_bytes()


async def test_the_kernel_prefers_an_engine_as_victim_when_memory_runs_out(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command())
    event = await bench.event(Spawned)

    assert isinstance(event, Spawned)
    assert int(Path(f"/proc/{event.pid}/oom_score_adj").read_text()) == 500


async def test_the_engine_reads_its_launch_and_listens_at_the_address(bench: Bench, tmp_path: Path) -> None:
    code = "import sys; print(open(sys.argv[1]).read(), sys.argv[2])"
    argv = (*program(code).argv, "{launch}", "--uds={socket}")
    bench.runtime.start("one", launch("qwen"), Command(argv, (), "/", None, 1.0))
    end = await bench.exit()
    text, address = end.log_tail[0].rsplit(" ", 1)

    assert json.loads(text) == json.loads(json.dumps(launch("qwen").as_file()))
    assert address == f"--uds={bench.runtime.address('one')}"


@pytest.mark.parametrize(
    ("options", "code", "number"),
    [(("--exit", "0"), 0, None), (("--exit", "78"), 78, None), (("--die", "11"), None, 11), (("--die", "9"), None, 9)],
)
async def test_an_engine_that_ends_is_reported_and_recorded(
    bench: Bench, options: tuple[str, ...], code: int | None, number: int | None
) -> None:
    bench.runtime.start("one", launch(), command("--say", "last words", *options))
    end = await bench.exit()
    record = json.loads((bench.directory() / "exit.json").read_text())

    assert end == Exit(code=code, signal=number, log_tail=("last words",))
    assert (record["code"], record["signal"], record["reason"]) == (code, number, "by itself")
    assert record["log_bytes"] == len("last words\n")
    assert record["started"] <= record["ended"]


async def test_intent_and_facts_are_on_disk_while_it_runs(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command())
    event = await bench.event(Spawned)
    intent = json.loads((bench.directory() / "intent.json").read_text())
    fact = json.loads((bench.directory() / "fact.json").read_text())
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    assert isinstance(event, Spawned)
    assert (intent["digest"], intent["policy"], intent["boot"]) == (launch().digest(), "stop", boot)
    assert fact["engine"]["pid"] == event.pid
    assert fact["boot"] == boot
    assert Path(f"/proc/{fact['engine']['pid']}/stat").read_text().split()[21] == str(fact["engine"]["start"])
    assert b"shim" in Path(f"/proc/{fact['shim']['pid']}/cmdline").read_bytes()


async def test_files_are_private(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command("--say", "hello"))
    await bench.event(Answered)
    directory = bench.directory()

    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o077 for path in directory.iterdir()} == {
        "launch.json": 0, "spec.json": 0, "intent.json": 0, "fact.json": 0, "log": 0, "shim.log": 0,
    }  # fmt: skip
    assert os.stat(bench.sockets / "one.ctl").st_mode & 0o777 == 0o600


async def test_an_engine_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command("--ignore-term", grace=0.2))
    await bench.event(Answered)
    bench.runtime.stop("one")
    end = await bench.exit()

    assert end == Exit(None, signal.SIGKILL, sentence="It had not left 0.2 s after SIGTERM and was killed.")


async def test_now_kills_at_once_an_engine_that_is_given_an_hour(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command("--ignore-term", grace=3600.0))
    await bench.event(Answered)
    bench.runtime.stop("one")
    bench.runtime.stop("one", now=True)

    assert (await bench.exit()).signal == signal.SIGKILL


async def test_an_engine_that_never_gets_ready_can_be_stopped(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command("--not-ready"))
    await bench.event(Spawned)
    await until(lambda: os.path.exists(bench.runtime.address("one")), "a socket")
    bench.runtime.stop("one")
    await bench.exit()

    assert [type(event) for event in bench.events] == [Spawned, Exited]


async def test_stopped_in_the_same_breath_it_never_spawns(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command())
    bench.runtime.stop("one")
    end = await bench.exit()

    assert end == Exit(None, sentence="It was stopped before its process was started.")
    assert [type(event) for event in bench.events] == [Exited]


async def test_stopping_twice_and_stopping_the_unknown_is_harmless(bench: Bench) -> None:
    bench.runtime.stop("nobody")
    bench.runtime.start("one", launch(), command())
    await bench.event(Answered)
    bench.runtime.stop("one")
    bench.runtime.stop("one")
    await bench.exit()
    bench.runtime.stop("one", now=True)

    assert len(bench.of(Exited)) == 1


async def test_nothing_but_the_end_is_told_of_what_was_told_to_stop(bench: Bench) -> None:
    """On its way out an engine may fail health checks for as long as its grace lasts."""
    bench.runtime.start("one", launch(), command("--deaf-after-term", grace=1.0))
    await bench.event(Answered)
    bench.runtime.stop("one")
    await bench.exit()

    assert [type(event) for event in bench.events] == [Spawned, Loaded, Answered, Exited]


async def test_stopped_from_within_the_report_of_its_spawn_it_is_not_watched(bench: Bench) -> None:
    def stop(event: Event) -> None:
        bench.events.append(event)
        if isinstance(event, Spawned):
            bench.runtime.stop("one")

    bench.runtime._report = stop
    bench.runtime.start("one", launch(), command())
    replica = bench.runtime._replicas["one"]
    await bench.exit()

    assert replica._watch is None
    assert [type(event) for event in bench.events] == [Spawned, Exited]


async def test_stopped_before_the_shim_can_be_talked_to_it_is_told_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = asyncio.open_connection

    async def stop_first(**arguments: Any) -> Any:
        bench.runtime.stop("one")
        return await connect(**arguments)

    monkeypatch.setattr("xserve.runtime.replica.asyncio.open_connection", stop_first)
    bench.runtime.start("one", launch(), command())
    await bench.exit()

    assert not bench.of(Loaded)


async def test_starting_what_runs_changes_nothing(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command())
    await bench.event(Answered)
    bench.runtime.start("one", launch("other"), command())
    bench.runtime.stop("one")
    await bench.exit()

    assert len(bench.of(Spawned)) == 1
    assert len(bench.of(Exited)) == 1


async def test_the_name_is_free_when_the_end_is_reported(bench: Bench) -> None:
    """The loop may start the same instance again from within the report."""

    def again(event: Event) -> None:
        bench.events.append(event)
        if isinstance(event, Exited) and len(bench.of(Exited)) == 1:
            bench.runtime.start("one", launch(), command("--exit", "4"))

    bench.runtime._report = again
    bench.runtime.start("one", launch(), command("--exit", "3"))
    await until(lambda: len(bench.of(Exited)) == 2, "two ends")

    assert [event.exit.code for event in bench.of(Exited) if isinstance(event, Exited)] == [3, 4]


async def test_a_program_that_is_not_there_is_an_exit_with_its_name(bench: Bench) -> None:
    bench.runtime.start("one", launch(), Command(("/no/such/python", "-m", "x"), (), "/", None, 1.0))
    end = await bench.exit()

    assert end == Exit(None, sentence="cannot start /no/such/python: No such file or directory (ENOENT)")
    assert [type(event) for event in bench.events] == [Exited]


async def test_an_interpreter_of_shims_that_is_not_there_is_an_exit_with_its_name(
    tmp_path: Path, sockets: Path
) -> None:
    bench = Bench(tmp_path / "run", sockets, RuntimeSettings(python="/no/such/python"))
    bench.runtime.start("one", launch(), command())

    assert (await bench.exit()).sentence == "cannot run one: /no/such/python: No such file or directory (ENOENT)"


async def test_an_empty_command_is_an_exit(bench: Bench) -> None:
    bench.runtime.start("one", launch(), Command((), (), "/", None, 1.0))
    end = await bench.exit()

    assert (end.code, end.signal) == (None, None)
    assert "empty" in end.sentence


async def test_a_socket_path_that_is_too_long_is_an_exit_that_says_so(bench: Bench) -> None:
    bench.runtime.start("n" * 100, launch(), command())
    end = await bench.exit("n" * 100)

    assert "bytes and the kernel takes 107" in end.sentence


@pytest.mark.parametrize("name", ["../one", "", ".", "a/b", "a\0b", "-rf/"])
async def test_a_name_that_would_leave_the_directory_is_refused(bench: Bench, name: str) -> None:
    bench.runtime.start(name, launch(), command())
    end = await bench.exit(name)

    assert "cannot name files after the instance" in end.sentence
    assert list((bench.run_dir / "engines").iterdir()) == []


async def test_a_run_directory_that_cannot_be_written_is_an_exit(bench: Bench) -> None:
    engines = bench.run_dir / "engines"
    engines.rmdir()
    engines.write_text("in the way")
    try:
        bench.runtime.start("one", launch(), command())
        assert "(ENOTDIR)" in (await bench.exit()).sentence or "(EEXIST)" in (await bench.exit()).sentence
    finally:
        engines.unlink()
        engines.mkdir()


async def test_the_engine_sees_a_clean_environment(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that the daemon was given for itself leaks; what the engine is given is there."""
    for name in ("CANARY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, "/secret")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    wanted = command("--environ", str(tmp_path / "environ"))
    wanted = Command(wanted.argv, (("A", "manifest"), ("B", "manifest")), "/health", None, 1.0)
    bench.runtime.start("one", launch(B="deploy"), wanted)
    await bench.event(Answered)
    environ = json.loads((tmp_path / "environ").read_text())

    assert "/secret" not in environ.values()
    assert (environ["PATH"], environ["A"], environ["B"]) == ("/usr/bin:/bin", "manifest", "deploy")
    assert environ["XSERVE_INSTANCE"].endswith(":one")


async def test_the_engine_holds_none_of_the_daemons_files(bench: Bench, tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        bench.runtime.start("one", launch(), command())
        event = await bench.event(Answered)
        spawned = await bench.event(Spawned)
        assert isinstance(spawned, Spawned)
        held = {os.readlink(f"/proc/{spawned.pid}/fd/{number}") for number in os.listdir(f"/proc/{spawned.pid}/fd")}

    assert event is not None
    assert str(tmp_path / "secret") not in held


async def test_closing_stops_everything_and_waits_until_it_is_gone(bench: Bench, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        bench.runtime.start(name, launch(), command("--ignore-term", "--brood", str(tmp_path / name), grace=3600.0))
        await bench.event(Answered, name)
    pids = [pid for name in ("one", "two", "three") for pid in await pids_in(tmp_path / name)]
    assert all(map(lives, pids))
    await bench.runtime.close(deadline=0.2)

    assert not any(map(lives, pids))
    assert {event.instance for event in bench.events if isinstance(event, Exited)} == {"one", "two", "three"}


async def test_only_the_newest_dead_instances_are_kept(tmp_path: Path, sockets: Path) -> None:
    bench = Bench(tmp_path / "run", sockets, RuntimeSettings(dead_keep=2))
    for name in ("a", "b", "c", "d"):
        bench.runtime.start(name, launch(), command("--exit", "0"))
        await bench.exit(name)

    assert sorted(path.name for path in (tmp_path / "run" / "engines").iterdir()) == ["c", "d"]


async def test_what_runs_is_kept_whatever_its_age(tmp_path: Path, sockets: Path) -> None:
    bench = Bench(tmp_path / "run", sockets, RuntimeSettings(dead_keep=0))
    bench.runtime.start("old", launch(), command())
    await bench.event(Answered, "old")
    bench.runtime.start("new", launch(), command("--exit", "0"))
    await bench.exit("new")

    assert [path.name for path in (tmp_path / "run" / "engines").iterdir()] == ["old"]
    await bench.runtime.close(deadline=60.0)


async def test_an_old_log_does_not_speak_for_a_new_instance_of_the_same_name(bench: Bench) -> None:
    bench.runtime.start("one", launch(), command("--say", "old", "--exit", "1"))
    await bench.exit()
    bench.events.clear()
    bench.runtime.start("one", launch(), command("--say", "new", "--exit", "1"))

    assert (await bench.exit()).log_tail == ("new",)


async def test_what_was_printed_just_before_the_end_is_in_the_log(bench: Bench) -> None:
    """More than the shim moves at a time. It is stopped meanwhile, so that it sees the end with the first byte."""
    bench.runtime.start("one", launch(), program(LAST_WORDS))
    end = await bench.exit()

    assert (end.code, end.log_tail[-1]) == (3, "the very last words")


LAST_WORDS = """
import os, signal, time
shim, engine = os.getppid(), os.getpid()
os.kill(shim, signal.SIGSTOP)
if os.fork() == 0:
    os.closerange(0, 3)
    while os.getppid() == engine:
        time.sleep(0.001)
    os.kill(shim, signal.SIGCONT)
    os._exit(0)
os.write(1, b"x" * 600_000 + b"\\nthe very last words\\n")
os._exit(3)
"""


async def test_sockets_left_behind_are_no_obstacle(bench: Bench) -> None:
    for name in ("one.sock", "one.ctl"):
        (bench.sockets / name).touch()
    bench.runtime.start("one", launch(), command())

    assert await bench.event(Answered) == Answered("one", probed=False)


async def test_an_end_is_told_as_it_was_though_the_sockets_were_cleaned_away(bench: Bench) -> None:
    """Cleaners of temporary directories take what nobody has touched for some days."""
    bench.runtime.start("one", launch(), command())
    spawned = await bench.event(Spawned)
    await bench.event(Answered)
    assert isinstance(spawned, Spawned)
    shutil.rmtree(bench.sockets)
    os.kill(spawned.pid, signal.SIGKILL)
    end = await bench.exit()
    bench.sockets.mkdir()

    assert (end.signal, end.sentence) == (signal.SIGKILL, "")


async def test_a_stopped_process_makes_it_unhealthy_and_can_still_be_stopped(bench: Bench) -> None:
    """SIGSTOP: no exit to wait for, only silence. A stop continues it, so that it can leave in order."""
    bench.runtime.start("one", launch(), command())
    spawned = await bench.event(Spawned)
    await bench.event(Answered)
    assert isinstance(spawned, Spawned)
    os.kill(spawned.pid, signal.SIGSTOP)
    event = await bench.event(Unhealthy)
    bench.runtime.stop("one")
    end = await bench.exit()

    assert isinstance(event, Unhealthy)
    assert event.sentence == "3 health checks in a row failed: no answer from /health within 0.3 s."
    assert end.signal == signal.SIGTERM
    assert len(bench.of(Unhealthy)) == 1

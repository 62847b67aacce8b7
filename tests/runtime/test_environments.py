"""Environments made by the real uv out of wheels that the tests write: whole, or not there at all."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from xserve.core.environment import Environment, Readiness
from xserve.runtime.environments import Environments, MakingFailedError, uv_environment

from ..wheels import only_from, wheel

ONE = Environment("native", "b", ("toy==1.0",), (), "here")
DEADLINE = 60.0  # seconds


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where uv finds packages."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    wheel(folder, "toy", "1.0")
    wheel(folder, "toy", "2.0", "extra==1.0")
    wheel(folder, "extra", "1.0")
    for name, value in only_from(folder, tmp_path).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def environments(tmp_path: Path, shelf: Path) -> Environments:
    return Environments(tmp_path / "environments")


def asks(environments: Environments, environment: Environment, code: str) -> str:
    """What the environment's interpreter prints."""
    done = subprocess.run([environments.python(environment), "-I", "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def fails(environments: Environments, environment: Environment, told: list[str]) -> None:
    """It cannot be made; what is said goes to `told`."""
    with pytest.raises(MakingFailedError) as caught:
        environments.make(environment, told.append)
    told.append(f"failed: {caught.value}")


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_was_asked_for_is_in_it_and_nothing_of_the_daemons(environments: Environments) -> None:
    told: list[str] = []
    environments.make(ONE, told.append)
    assert environments.readiness(ONE) == (Readiness.INSTALLED, "")
    assert asks(environments, ONE, "import toy; print(toy.version)") == "1.0"
    assert "No module named 'pydantic'" in asks(environments, ONE, "import pydantic")
    assert told[0] == "making an empty environment"
    assert "installing toy==1.0" in told


def test_other_packages_make_another_environment_beside_it(environments: Environments) -> None:
    other = replace(ONE, packages=("toy==2.0",))
    environments.make(ONE, str)
    environments.make(other, str)
    assert asks(environments, other, "import toy, extra; print(toy.version)") == "2.0"
    assert asks(environments, ONE, "import toy; print(toy.version)") == "1.0"


def test_a_requirement_can_be_left_out(environments: Environments) -> None:
    bare = replace(ONE, packages=("toy==2.0",), without=("extra",))
    environments.make(bare, str)
    assert "No module named 'extra'" in asks(environments, bare, "import toy, extra")


def test_what_is_there_is_not_made_again(environments: Environments, shelf: Path) -> None:
    environments.make(ONE, str)
    for file in shelf.iterdir():
        file.unlink()
    told: list[str] = []
    environments.make(ONE, told.append)
    assert told == []


def test_a_failure_is_told_in_the_resolvers_words_and_leaves_nothing(environments: Environments) -> None:
    hopeless = replace(ONE, packages=("toy==3.0",))
    with pytest.raises(MakingFailedError, match=r"toy==3\.0"):
        environments.make(hopeless, str)
    readiness, sentence = environments.readiness(hopeless)
    assert readiness is Readiness.FAILED
    assert "there is no version of toy==3.0" in sentence
    assert not (environments.root / hopeless.name).exists()


def test_a_failed_one_rests_for_longer_each_time_until_it_is_forgiven(tmp_path: Path, shelf: Path) -> None:
    now = [0.0]
    environments = Environments(tmp_path / "environments", lambda: now[0])
    hopeless = replace(ONE, packages=("toy==3.0",))
    rests = []
    for _ in range(3):
        with pytest.raises(MakingFailedError):
            environments.make(hopeless, str)
        began = now[0]
        while not environments.due(hopeless):
            now[0] += 10.0
        rests.append(now[0] - began)
    assert rests == [30.0, 60.0, 120.0]
    with pytest.raises(MakingFailedError):
        environments.make(hopeless, str)
    assert not environments.due(hopeless)
    environments.forgive()
    assert environments.due(hopeless)


def test_a_failure_that_has_rested_is_none_any_more(tmp_path: Path, shelf: Path) -> None:
    now = [0.0]
    environments = Environments(tmp_path / "environments", lambda: now[0])
    hopeless = replace(ONE, packages=("toy==3.0",))
    fails(environments, hopeless, [])
    assert environments.readiness(hopeless)[0] is Readiness.FAILED
    now[0] += 30.0
    assert environments.readiness(hopeless) == (Readiness.ABSENT, "")


def test_one_failure_can_be_forgiven_without_the_others(environments: Environments) -> None:
    hopeless, other = (replace(ONE, packages=(f"toy=={version}",)) for version in ("3.0", "4.0"))
    fails(environments, hopeless, [])
    fails(environments, other, [])
    environments.forgive(hopeless)
    assert (environments.due(hopeless), environments.due(other)) == (True, False)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, shelf: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    fails(Environments(tmp_path / "file" / "environments"), ONE, told)
    assert told == [f"failed: {tmp_path}/file/environments: Not a directory"]


def test_a_fault_of_ours_rests_like_any_other(environments: Environments, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would otherwise be repeated without a pause, for ever."""

    def broken() -> str:
        raise ValueError("no such thing\n")

    monkeypatch.setattr("xserve.runtime.environments.find_uv_bin", broken)
    told: list[str] = []
    fails(environments, ONE, told)
    assert told[-1] == "failed: no such thing"
    assert not environments.due(ONE)


def test_without_its_interpreter_an_environment_is_made_anew(environments: Environments) -> None:
    """Somebody cleared it away in part, or the interpreter that it links to."""
    environments.make(ONE, str)
    Path(environments.python(ONE)).unlink()
    assert environments.readiness(ONE) == (Readiness.ABSENT, "")
    environments.make(ONE, str)
    assert asks(environments, ONE, "import toy; print(toy.version)") == "1.0"


def test_the_project_in_whose_folder_the_daemon_was_started_has_no_say(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\n[tool.uv]\noverride-dependencies = ["toy==2.0"]\n'
    )
    monkeypatch.chdir(project)
    monkeypatch.delenv("UV_NO_CONFIG")
    environments.make(ONE, str)
    assert asks(environments, ONE, "import toy; print(toy.version)") == "1.0"


def test_a_package_that_comes_later_makes_the_next_try_succeed(environments: Environments, shelf: Path) -> None:
    late = replace(ONE, packages=("late==1.0",))
    with pytest.raises(MakingFailedError):
        environments.make(late, str)
    wheel(shelf, "late", "1.0")
    environments.make(late, str)
    assert environments.readiness(late)[0] is Readiness.INSTALLED


def test_a_folder_without_its_seal_is_not_trusted(environments: Environments) -> None:
    """As a kill in the middle of an installation leaves it."""
    environments.make(ONE, str)
    (environments.root / ONE.name / "xserve-environment.json").unlink()
    (environments.root / ONE.name / "litter").touch()
    assert environments.readiness(ONE) == (Readiness.ABSENT, "")
    environments.make(ONE, str)
    assert environments.readiness(ONE)[0] is Readiness.INSTALLED
    assert not (environments.root / ONE.name / "litter").exists()


def test_the_seal_says_what_is_in_it(environments: Environments) -> None:
    environments.make(ONE, str)
    seal = json.loads((environments.root / ONE.name / "xserve-environment.json").read_text())
    assert (seal["engine"], seal["packages"]) == ("native", ["toy==1.0"])


def test_two_who_make_the_same_one_make_it_once(environments: Environments) -> None:
    told: list[str] = []
    others = Environments(environments.root)
    threads = [threading.Thread(target=each.make, args=(ONE, told.append)) for each in (environments, others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert told.count("making an empty environment") == 1
    assert environments.readiness(ONE) == others.readiness(ONE) == (Readiness.INSTALLED, "")


def test_leaving_ends_what_is_being_made(environments: Environments, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv waits for a server that never answers."""
    with subprocess.Popen([sys.executable, "-c", SILENT], stdout=subprocess.PIPE, text=True) as silent:
        assert silent.stdout is not None
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{silent.stdout.readline().strip()}/simple")
        told: list[str] = []
        thread = threading.Thread(target=fails, args=(environments, replace(ONE, packages=("unheard-of==1.0",)), told))
        thread.start()
        assert silent.stdout.readline() == "asked\n"
        environments.close()
        thread.join(DEADLINE)
        silent.kill()
    assert told[-1].startswith("failed: ")


def test_nothing_is_made_after_leaving(environments: Environments) -> None:
    """The daemon left between two runs of uv."""
    environments.close()
    told: list[str] = []
    fails(environments, ONE, told)
    assert told[-1].startswith("failed: ")
    assert not (environments.root / ONE.name).exists()


def test_leaving_does_not_wait_for_another_process_that_makes_it(environments: Environments) -> None:
    environments.root.mkdir()
    with (environments.root / f"{ONE.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told: list[str] = []
        thread = threading.Thread(target=fails, args=(environments, ONE, told), daemon=True)
        thread.start()
        until(lambda: told)
        environments.close()
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert told == ["another process makes it", "failed: xserve left while another process made it"]


def test_a_killed_daemons_uv_keeps_others_out_until_it_is_done(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is uv's as well: nobody removes a folder into which an orphan still writes."""
    with subprocess.Popen([sys.executable, "-c", SILENT], stdout=subprocess.PIPE, text=True) as silent:
        assert silent.stdout is not None
        index = f"http://127.0.0.1:{silent.stdout.readline().strip()}/simple"
        code = f"""
from pathlib import Path
from xserve.core.environment import Environment
from xserve.runtime.environments import Environments
wanted = Environment("native", "b", ("toy==1.0", "unheard-of"), (), "here")
Environments(Path({str(environments.root)!r})).make(wanted, str)
"""
        daemon = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "UV_DEFAULT_INDEX": index})
        assert silent.stdout.readline() == "asked\n"
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(DEADLINE)
        told: list[str] = []
        same = replace(ONE, packages=("toy==1.0", "unheard-of"))
        thread = threading.Thread(target=fails, args=(environments, same, told))
        thread.start()
        until(lambda: told)
        assert told == ["another process makes it"]
        silent.kill()  # the orphan's connection breaks, and it leaves
        thread.join(DEADLINE)
    assert not thread.is_alive()
    assert "making an empty environment" in told


# A server that takes every connection, says so once, and never answers.
SILENT = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
kept = []
while True:
    kept.append(server.accept())
    if len(kept) == 1:
        print("asked", flush=True)
"""


@pytest.mark.parametrize(
    ("inherited", "told"),
    [
        ({"PIP_FIND_LINKS": "/shelf"}, {"UV_FIND_LINKS": "/shelf"}),
        ({"PIP_FIND_LINKS": "/shelf /other"}, {"UV_FIND_LINKS": "/shelf,/other"}),
        ({"PIP_FIND_LINKS": "/shelf", "UV_FIND_LINKS": "/mine"}, {"UV_FIND_LINKS": "/mine"}),
        ({"PIP_INDEX_URL": "https://x/simple"}, {"UV_DEFAULT_INDEX": "https://x/simple"}),
        ({"PIP_EXTRA_INDEX_URL": "https://y/simple"}, {"UV_INDEX": "https://y/simple"}),
    ],
)
def test_uv_hears_what_pip_was_told(inherited: dict[str, str], told: dict[str, str]) -> None:
    assert told.items() <= uv_environment(inherited).items()

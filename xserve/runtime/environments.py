"""The environments of engines on disk: made by uv, whole or not there at all.

An environment is a folder named by what is in it, so a changed requirement makes a new one beside the old. It
counts only with its seal, a file that is written last, and an interpreter that is still there: what a kill leaves
unfinished has no seal, what somebody cleared away has no interpreter, and both are made anew.
Whoever makes one holds a lock, which uv inherits: an orphaned uv keeps others out until it is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from uv import find_uv_bin

from xserve.core.environment import Environment, Readiness

_SEAL = "xserve-environment.json"
_UNINTERESTING = ("+ ", "- ", "~ ", "Using ", "Creating ", "Activate ")  # uv's remarks that are no progress
_LAST_LINES = 12  # of what uv says about a failure
_FRAME = re.compile(r"[\x00-\x1f│╰─▶├×]+")
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0  # seconds before a failed one is tried again; doubled each time
_LOCK_INTERVAL = 0.2  # seconds between two tries for a lock that another process holds

Tell = Callable[[str], None]


class MakingFailedError(Exception):
    """An environment could not be made; the sentence is what uv said."""


@dataclass(frozen=True, slots=True)
class _Failure:
    sentence: str
    count: int
    retry_at: float  # monotonic seconds


class Environments:
    """All environments below one folder. May be used by any thread."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.root = root
        self._clock = clock
        self._progress: dict[str, str] = {}
        self._failures: dict[str, _Failure] = {}
        self._uv = _Uv(root)

    def close(self) -> None:
        """End what is being made: it fails."""
        self._uv.close()

    def python(self, environment: Environment) -> str:
        """Path of its interpreter."""
        return str(self.root / environment.name / "bin" / "python")

    def readiness(self, environment: Environment) -> tuple[Readiness, str]:
        """Whether it can be used, and how far it is or what went wrong."""
        if self._is_whole(environment):
            return Readiness.INSTALLED, ""
        progress = self._progress.get(environment.name)
        if progress is not None:
            return Readiness.MAKING, progress
        failure = self._resting(environment)
        return (Readiness.FAILED, failure.sentence) if failure else (Readiness.ABSENT, "")

    def _is_whole(self, environment: Environment) -> bool:
        sealed = (self.root / environment.name / _SEAL).exists()
        return sealed and os.path.exists(self.python(environment))  # False for a link to an interpreter that went

    def _resting(self, environment: Environment) -> _Failure | None:
        """Its last failure, for as long as it is not tried again."""
        failure = self._failures.get(environment.name)
        return failure if failure is not None and self._clock() < failure.retry_at else None

    def due(self, environment: Environment) -> bool:
        """Whether it should be made now: nobody does, and it did not fail just now."""
        return environment.name not in self._progress and self._resting(environment) is None

    def forgive(self, environment: Environment | None = None) -> None:
        """Forget its failures, or all: whoever asks for a launch or a reload has mended something."""
        if environment is None:
            self._failures.clear()
        else:
            self._failures.pop(environment.name, None)

    def begin(self, environment: Environment) -> None:
        """Somebody is about to make it."""
        self._progress[environment.name] = "it waits for its turn"

    def leave(self, environment: Environment) -> None:
        """Whoever was about to make it does not."""
        self._progress.pop(environment.name, None)

    def make(self, environment: Environment, tell: Tell) -> None:
        """Make it, unless it is there. Blocks for as long as it takes; `tell` gets each step in words.

        Raises MakingFailedError with uv's own last lines. Whatever goes wrong is a failure that rests: a fault of ours
        must not be repeated without a pause.
        """

        def progress(words: str) -> None:
            self._progress[environment.name] = words
            tell(words)

        try:
            self._make(environment, progress)
            self._failures.pop(environment.name, None)
        except Exception as error:
            sentence = _in_words(error)
            self._remember(environment, sentence)
            raise MakingFailedError(sentence) from error
        finally:
            self._progress.pop(environment.name, None)

    def _make(self, environment: Environment, tell: Tell) -> None:
        folder = self.root / environment.name
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock"), tell, self._uv.closed) as lock:
            if self._is_whole(environment):
                return
            shutil.rmtree(folder, ignore_errors=True)
            try:
                self._install(environment, folder, lock, tell)
                _seal(environment, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def _install(self, environment: Environment, folder: Path, lock: int, tell: Tell) -> None:
        tell("making an empty environment")
        self._uv.run(["venv", "--no-project", "--python", sys.executable, str(folder)], lock, tell)
        python = str(folder / "bin" / "python")
        arguments = ["pip", "install", "--python", python, *environment.packages]
        if environment.without:
            overrides = folder / "left-out.txt"
            overrides.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in environment.without))
            arguments += ["--override", str(overrides)]
        tell(f"installing {', '.join(environment.packages)}")
        self._uv.run(arguments, lock, tell)

    def _remember(self, environment: Environment, sentence: str) -> None:
        before = self._failures.get(environment.name)
        count = before.count + 1 if before else 1
        pause = min(_FIRST_PAUSE * 2 ** (count - 1), _LONGEST_PAUSE)
        self._failures[environment.name] = _Failure(sentence, count, self._clock() + pause)


@contextlib.contextmanager
def _locked(path: Path, tell: Tell, closed: threading.Event) -> Iterator[int]:
    """Hold the lock file; its descriptor is handed to uv. Raises MakingFailedError where `closed` is set first."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _lock(file):
            tell("another process makes it")
            while not _lock(file):  # never waited for in the kernel: whoever leaves could not be let go
                if closed.wait(_LOCK_INTERVAL):
                    raise MakingFailedError("xserve left while another process made it")
        yield file
    finally:
        os.close(file)


def _lock(file: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_words(error: Exception) -> str:
    """One line that names the file, where the system refused one."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


class _Uv:
    """Runs uv, and ends it where the daemon leaves."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where it runs; uv heeds the configuration of a project in which it stands."""
        self._folder = folder
        self._running: set[subprocess.Popen[str]] = set()
        self.closed = threading.Event()

    def run(self, arguments: list[str], lock: int, tell: Tell) -> None:
        """Run uv to its end. What it says is progress; raises MakingFailedError with its last lines."""
        process = subprocess.Popen(
            [find_uv_bin(), "--no-progress", "--color", "never", *arguments],
            env=uv_environment(os.environ),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[lock],
            start_new_session=True,  # a Ctrl-C at the terminal is the daemon's to handle
            text=True,
            errors="replace",
        )
        self._running.add(process)
        try:
            if self.closed.is_set():
                _end(process)
            said = _listen(process, tell)
            if process.wait() != 0:
                raise MakingFailedError(" ".join(said[-_LAST_LINES:]) or f"uv ended with status {process.returncode}")
        except BaseException:
            _end(process)
            process.wait()
            raise
        finally:
            self._running.discard(process)

    def close(self) -> None:
        """End what runs, and whatever is begun later."""
        self.closed.set()
        for process in tuple(self._running):
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End uv and whatever it runs: a package that builds itself would go on, and hold the lock."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _listen(process: subprocess.Popen[str], tell: Tell) -> list[str]:
    """Every line that it says and that is progress or a complaint, told as it comes."""
    said: list[str] = []
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            words = " ".join(_FRAME.sub(" ", line).split())
            if words and not words.startswith(_UNINTERESTING):
                said.append(words)
                tell(words)
    return said


def uv_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """uv's environment: what the operator told pip about package indexes holds for uv, unless uv was told itself."""
    names = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS"}
    told = {ours: inherited[theirs] for theirs, ours in names.items() if inherited.get(theirs)}
    if "UV_FIND_LINKS" in told:
        told["UV_FIND_LINKS"] = ",".join(told["UV_FIND_LINKS"].split())  # pip's are separated by spaces
    return {"UV_HTTP_TIMEOUT": "180", "UV_LINK_MODE": "hardlink", **told, **inherited}


def _seal(environment: Environment, folder: Path) -> None:
    """Say that it is whole; the last thing that is written."""
    content = json.dumps({**asdict(environment), "made": time.time()}, indent=2)
    unsealed = folder / f"{_SEAL}.{os.getpid()}.{threading.get_ident()}"
    with unsealed.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unsealed.rename(folder / _SEAL)

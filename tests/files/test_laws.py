"""Laws of the files layer: whatever is done to the files, and whenever somebody looks.

1. What is in force was written whole at some time: half of a document is never acted on.
2. A file that was good once and is still there is in force.
3. Once nothing is open any more, what is in force and what is reported is what a newcomer finds who sees only
   the final state; a broken file alone adds its last good document.
4. A restart changes nothing of that.
5. What a glance says of a file the pass that follows says too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xserve.files.store import Look

FILES = ("a.yaml", "b.json", "c.yml")
PADDING = "the end of a file that is long enough to be cut\n"


def text_of(name: str, size: int) -> str:
    """A document whose front parts are documents too, for the most part."""
    stem = name.partition(".")[0]
    if name.endswith("json"):
        return f'{{"name": "{stem}", "size": {size}, "note": "{"x" * size}"}}\n'
    return f"name: {stem}\nsize: {size}\nnote: {PADDING}"


@dataclass
class World:
    """The files, what was ever written to each, and the store that looks."""

    place: Any
    written: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in FILES})
    broken: set[str] = field(default_factory=set)

    @property
    def directory(self) -> Path:
        return self.place.root / "models.d"

    # --- what can be done to files -----------------------------------------------------------------------

    def replace(self, name: str, size: int) -> None:
        self._written(name, size)
        self.place.put(name, text_of(name, size))

    def write(self, name: str, size: int) -> None:
        self._written(name, size)
        self.place.write(name, text_of(name, size))

    def write_slowly(self, name: str, size: int) -> None:
        """In two steps, with somebody looking in between and time passing, but less than is needed to settle."""
        text = text_of(name, size)
        cut = 1 + (size * 7) % (len(text) - 1)
        with (self.directory / name).open("w") as file:
            file.write(text[:cut])
            file.flush()
            self.look()
            self.place.clock.advance(0.3)
            self.look()
            file.write(text[cut:])
        self._written(name, size)

    def spoil(self, name: str, size: int) -> None:
        self.place.put(name, "name: [")
        self.broken.add(name)

    def empty(self, name: str, size: int) -> None:
        self.place.write(name, "")
        self.broken.add(name)

    def remove(self, name: str, size: int) -> None:
        (self.directory / name).unlink(missing_ok=True)
        self.broken.discard(name)

    def touch(self, name: str, size: int) -> None:
        if (self.directory / name).exists():
            os.utime(self.directory / name)
            (self.directory / name).chmod(0o600 + size % 2 * 0o40)

    def move_away_and_back(self, name: str, size: int) -> None:
        if (self.directory / name).exists():
            (self.directory / name).rename(self.directory / f"{name}~")
            self.look()
            (self.directory / f"{name}~").rename(self.directory / name)

    def swap_directory(self, name: str, size: int) -> None:
        """A new directory with the same content, as a deployment by rename or a link makes it."""
        new = self.place.root / f"release-{time.monotonic_ns()}"
        shutil.copytree(self.directory, new)
        old = self.place.root / f"old-{time.monotonic_ns()}"
        os.rename(self.directory, old)
        if size % 2:
            self.look()
        if size % 3:
            os.rename(new, self.directory)
        else:
            os.symlink(new.name, self.directory)

    def link(self, name: str, size: int) -> None:
        """The file becomes a link into a hidden directory, as in a Kubernetes volume."""
        hidden = self.directory / f"..{time.monotonic_ns()}"
        hidden.mkdir()
        self._written(name, size)
        (hidden / name).write_text(text_of(name, size))
        (self.directory / ".link").symlink_to(f"{hidden.name}/{name}")
        (self.directory / ".link").rename(self.directory / name)

    def restart(self, name: str, size: int) -> None:
        self.place.start()

    def wait(self, name: str, size: int) -> None:
        self.place.clock.advance(size / 10)

    def glance(self, name: str, size: int) -> None:
        """Law 5."""
        glanced = self.place.store.glance([str(self.directory / name)])
        if glanced is not None:
            self.check(glanced)
            assert in_force(self.look()).get(name) == in_force(glanced).get(name)

    # --- looking -----------------------------------------------------------------------------------------

    def look(self, **options: bool) -> Look:
        look = self.place.look(**options)
        self.check(look)
        return look

    def check(self, look: Look) -> None:
        """Law 1."""
        for path, document in look.files.items():
            name = os.path.basename(path)
            assert document.data["size"] in [int(size) for size in self.written[name]], (name, document.data)
            assert len(document.data["note"]) in (document.data["size"], len(PADDING) - 1)

    def _written(self, name: str, size: int) -> None:
        self.written[name].append(str(size))
        self.broken.discard(name)


OPERATIONS = (
    "replace", "write", "write_slowly", "spoil", "empty", "remove", "touch", "move_away_and_back", "swap_directory",
    "link", "restart", "wait", "glance",
)  # fmt: skip


@contextmanager
def world(make_place: Any) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as directory:
        yield World(make_place(Path(directory)))


def in_force(look: Look) -> dict[str, int]:
    return {os.path.basename(path): document.data["size"] for path, document in look.files.items()}


STEP = st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(FILES), st.integers(1, 9), st.booleans())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=25))
def test_any_history_converges_to_what_a_newcomer_finds(make_place, steps):
    with world(make_place) as it:
        good: set[str] = set()
        for operation, name, size, looks in steps:
            it.place.clock.tick()
            getattr(it, operation)(name, size)
            if looks:
                good = set(in_force(it.look()))
        final = it.place.settle()
        it.check(final)
        newcomer = make_place(it.place.root, journal=False).look(reload=True)

        sound = {name: size for name, size in in_force(final).items() if name not in it.broken}
        assert sound == in_force(newcomer)
        assert [str(problem) for problem in final.problems] == [str(problem) for problem in newcomer.problems]
        for name in good & it.broken:
            assert name in in_force(final) or not it.written[name]
        it.restart("", 0)
        assert in_force(it.place.settle()) == in_force(final)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(1, 9), st.data(), st.sampled_from(FILES), st.booleans())
def test_no_front_part_of_a_file_being_written_is_acted_on(make_place, before, after, data, name, existed):
    with world(make_place) as it:
        it.place.clock.tick()
        if existed:
            it.replace(name, before)
            it.look()
        text = text_of(name, after)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
        it.place.clock.tick()
        with (it.directory / name).open("w") as file:
            for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
                file.write(text[begin:end])
                file.flush()
                if end < len(text):
                    assert in_force(it.look()) == ({name: before} if existed else {})
                    it.place.clock.advance(0.49 / 5)
        it.written[name].append(str(after))

        assert in_force(it.place.settle()) == {name: after}

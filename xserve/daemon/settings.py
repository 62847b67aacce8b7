"""Reads `xserve.yaml`, and puts what the command line says over it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from xserve.core.judge import judge
from xserve.core.problems import Problem, Severity, has_errors
from xserve.core.settings import Settings
from xserve.files.examine import locate
from xserve.files.layers import Layers
from xserve.files.reader import Unreadable, read
from xserve.files.syntax import SyntaxFault, parse


def load_settings(
    layers: Layers, *, host: str | None = None, port: int | None = None, uds: str | None = None
) -> Settings | list[Problem]:
    """The settings in force, or what is wrong with the file. No file: the defaults."""
    given = {key: value for key, value in (("host", host), ("port", port), ("uds", uds)) if value is not None}
    if _is_absent(layers.settings):
        # Nothing to validate, so no validator is built: `check` starts sooner by a tenth of its time.
        return Settings.model_validate({"version": 1, **given}) if given else Settings.model_construct(version=1)
    try:
        document = parse(read(str(layers.settings), ("/",), time.time_ns).raw)
    except Unreadable as reason:
        return [Problem(str(layers.settings), 0, 0, "", f"it {reason}")]
    except SyntaxFault as fault:
        return [Problem(str(layers.settings), fault.line, fault.column, "", fault.message)]
    verdict = judge("settings", document.data)
    problems = list(locate(str(layers.settings), document, verdict))
    if has_errors(problems) or verdict.value is None:
        return problems
    return Settings.model_validate({**verdict.value, **given})


class SettingsFile:
    """The file that settings in force were read from, looked at again while they are."""

    def __init__(self, layers: Layers, settings: Settings) -> None:
        self._layers = layers
        self._settings = settings
        self._content = self._read()

    def problems(self) -> Iterator[Problem]:
        """What a person should know: folders that are not there, and an edit, which has no effect yet."""
        for key in ("engine_dirs", "launcher_dirs"):
            for folder in getattr(self._settings, key):
                if not os.path.isdir(folder):
                    yield self._warning(key, f"{folder} is not a folder")
        if self._read() != self._content:
            loaded = load_settings(self._layers)
            yield from loaded if isinstance(loaded, list) else ()
            yield self._warning(
                "", "it was edited since the daemon started; restart the daemon to bring that into force"
            )

    def _warning(self, key: str, sentence: str) -> Problem:
        return Problem(str(self._layers.settings), 0, 0, key, sentence, Severity.WARNING)

    def _read(self) -> bytes:
        try:
            return self._layers.settings.read_bytes()
        except OSError:
            return b""


def _is_absent(path: Path) -> bool:
    """Whether there is no such name: what is there and cannot be read must not look like the defaults."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False

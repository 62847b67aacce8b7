"""Where the layers lie: below one directory, in the places of the system, or in those of a user.

`--config-dir DIR` puts everything below DIR, which suits a laptop and a test. Without it a daemon of the system
uses /etc, /var/lib and /run (or what systemd says they are), and one of a user the XDG equivalents.

The runtime layer means "until the next boot". Where its directory outlives a boot, as it does below DIR, it
carries the id of the boot that it belongs to, and is emptied under another one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xserve.files.names import counts
from xserve.files.sources import Kind, Layer, Source
from xserve.files.writer import replace

_FOLDERS: dict[Kind, str] = {"model": "models.d", "deploy": "deploy.d"}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Layers:
    """The directories of the layers that this daemon reads and writes. Naming them creates nothing."""

    admin: Path
    state: Path
    run: Path

    @classmethod
    def find(cls, config_dir: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ) -> Layers:
        """The layers of `config_dir`, else of XSERVE_CONFIG_DIR, else of the system or the user."""
        chosen = config_dir or environ.get("XSERVE_CONFIG_DIR")
        if chosen:
            root = Path(os.path.abspath(chosen))
            return cls(root, root / "state", root / "run")
        if os.geteuid() == 0 or "STATE_DIRECTORY" in environ:
            return _of_system(environ)
        return _of_user(environ)

    @property
    def settings(self) -> Path:
        """The daemon's own settings."""
        return self.admin / "xserve.yaml"

    @property
    def journal(self) -> Path:
        """The last accepted generation."""
        return self.state / "accepted.journal"

    @property
    def daemon_file(self) -> Path:
        """Where a running daemon tells clients how to reach it."""
        return self.run / "daemon.json"

    def exists(self) -> bool:
        """Whether there is a config directory."""
        return self.admin.is_dir()

    def describe(self) -> str:
        """The config directory, for people."""
        return str(self.admin)

    def drop_here(self) -> tuple[str, str]:
        """Where people put definitions, and deployments."""
        return str(self.admin / "models.d"), str(self.admin / "deploy.yaml")

    def sources(self, builtin: str | os.PathLike[str]) -> list[Source]:
        """Everything that is read, with the shipped definitions in `builtin`."""
        return [
            Source("builtin", "model", os.fspath(builtin)),
            Source("admin", "deploy", str(self.admin / "deploy.yaml"), single=True),
            *self._folders("admin", self.admin),
            *self._folders("state", self.state),
            *self._folders("runtime", self.run),
        ]

    def writable(self, kind: Kind, *, persist: bool) -> Path:
        """The directory into which the API writes files of a kind: to last, or until the next boot."""
        return (self.state if persist else self.run) / _FOLDERS[kind]

    def prepare(self, boot_id: Path = _BOOT_ID) -> None:
        """Make the directories that are missing, and empty the runtime layer of another boot.

        To be called by the one daemon that serves this directory. Raises OSError where the state or runtime
        layer cannot be made; the admin layer may belong to somebody else.
        """
        for layer in (self.state, self.run):
            layer.mkdir(mode=0o700, parents=True, exist_ok=True)
        _empty_after_boot(self.run, boot_id)
        for layer in (self.state, self.run):
            for folder in _FOLDERS.values():
                (layer / folder).mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(OSError):
            (self.admin / _FOLDERS["model"]).mkdir(parents=True, exist_ok=True)

    def watched(self) -> list[str]:
        """The directories where something may change: the sources', and those that links lead to."""
        found = {source.directory for source in self.sources(self.admin) if source.layer != "builtin"}
        found |= {target for directory in found for target in _link_targets(directory)}
        return sorted(found)

    def _folders(self, layer: Layer, root: Path) -> Iterator[Source]:
        for kind, folder in _FOLDERS.items():
            yield Source(layer, kind, str(root / folder), roots=(str(root),))


def _of_system(environ: Mapping[str, str]) -> Layers:
    """systemd may name several directories, separated by colons; the first is the daemon's own."""

    def given(variable: str, default: str) -> Path:
        return Path(environ.get(variable, "").split(":")[0] or default)

    return Layers(
        given("CONFIGURATION_DIRECTORY", "/etc/xserve"),
        given("STATE_DIRECTORY", "/var/lib/xserve"),
        given("RUNTIME_DIRECTORY", "/run/xserve"),
    )


def _of_user(environ: Mapping[str, str]) -> Layers:
    home = Path(environ.get("HOME") or "~").expanduser()
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "xserve"
    state = Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "xserve"
    runtime = environ.get("XDG_RUNTIME_DIR")
    return Layers(config, state, Path(runtime) / "xserve" if runtime else state / "run")


def _empty_after_boot(run: Path, boot_id: Path) -> None:
    """Empty the directory unless it carries the id of this boot."""
    mark = run / "boot-id"
    with contextlib.suppress(OSError):
        now = boot_id.read_text().strip()
        if mark.exists() and mark.read_text().strip() == now:
            return
        for item in run.iterdir():
            shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        replace(str(mark), f"{now}\n".encode())


def _link_targets(directory: str) -> set[str]:
    """The real directories that hold what the links in a directory lead to."""
    targets = set()
    with contextlib.suppress(OSError), os.scandir(directory) as listing:
        for item in listing:
            if item.is_symlink() and counts(item.name):
                targets.add(os.path.dirname(os.path.join(directory, os.readlink(item.path))))
    return {os.path.realpath(target) for target in targets}

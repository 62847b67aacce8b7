"""Which entries of a directory count as files of ours, and the order in which they are looked at.

The list is a contract with editors, package managers and configuration managers: what they leave beside a
file while they work is never read. Ansible's fallback temporary file ends in `.json`, and the `..data` link of
a Kubernetes volume has no suffix at all; both begin with a dot.
"""

from __future__ import annotations

import re

SUFFIXES = (".json", ".yaml", ".yml")
"""Only names that end so are read."""

IGNORED = (
    r"\..*",  # hidden: temporary files of rsync, Ansible, Chef, vim; `..data` of Kubernetes volumes
    r".*~",  # backups of editors and of Ansible
    r"#.*#",  # auto-save files of Emacs
    r".*\.(swp|tmp|part|bak|orig)(\..*)?",  # `x.yaml.bak`, and `x.bak.yaml` too
    r".*\.(dpkg|ucf)-.*",  # what Debian's packages leave beside a changed configuration file
    r".*\.rpm(new|save|orig)(\..*)?",
    r"4913",  # vim tries with this name whether it may write here
    r".*[\udc80-\udcff].*",  # not UTF-8: neither a log nor an answer could name it
)
"""Regular expressions for whole names that are never read, whatever they end in."""

_IGNORED = re.compile("|".join(f"(?:{pattern})" for pattern in IGNORED), re.DOTALL)
_DIGITS = re.compile(r"(\d+)")


def counts(name: str) -> bool:
    """Whether a directory entry of this name is read."""
    return name.endswith(SUFFIXES) and _IGNORED.fullmatch(name) is None


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key in which `2-x.yaml` comes before `10-x.yaml`."""
    parts = _DIGITS.split(name)
    return tuple((0, int(part)) if index % 2 else (1, part) for index, part in enumerate(parts))

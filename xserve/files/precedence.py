"""Who owns a name: pure rules over accepted documents.

1. Within a layer, a name that two files declare belongs to the one that had it before; where none had it, to
   the first by file name. The other file is told so.
2. A definition that wins none of its names is not in force; the last good one of that file stays in force
   instead, unless its names are taken too. So a slip of the pen in a name stops no good model.
3. Over the layers, the highest one that declares a name has it (`sources.PRECEDENCE`). Hiding is no fault.
4. A link to /dev/null masks the file of that very name in all lower layers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xserve.core.problems import Problem
from xserve.files.examine import Accepted, Name
from xserve.files.names import natural_key
from xserve.files.sources import PRECEDENCE, Kind, Layer

Group = tuple[Layer, Kind]
"""Names are owned within one kind of one layer."""


class Contender(NamedTuple):
    """One file's newest good document, and the one that was in force before."""

    newest: Accepted
    previous: Accepted | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """A link to /dev/null."""

    layer: Layer
    kind: Kind
    name: str  # of the file, without its directory


@dataclass(frozen=True, slots=True)
class Loss:
    """A name that a file declares and does not get."""

    loser: Accepted
    name: Name
    winner: str  # path of the file that has it


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who has what within one group."""

    owners: Mapping[Name, Accepted]
    in_force: Mapping[str, Accepted]  # path -> document
    losses: tuple[Loss, ...]


def by_group(contenders: Iterable[Contender]) -> dict[Group, list[Contender]]:
    """The contenders of each group."""
    groups: dict[Group, list[Contender]] = {}
    for contender in contenders:
        groups.setdefault((contender.newest.layer, contender.newest.kind), []).append(contender)
    return groups


def assign(contenders: Sequence[Contender], incumbents: Mapping[Name, str]) -> Ownership:
    """Rules 1 and 2 for one group. `incumbents` says which path had a name before."""
    owners, contested = _first_claims(contenders, incumbents)
    losers = [contender for contender in contenders if not _wins_any(contender.newest, owners)] if contested else []
    in_force = {contender.newest.path: contender.newest for contender in contenders}
    for loser in losers:
        del in_force[loser.newest.path]
    for document in _fall_back(losers, owners):
        in_force[document.path] = document
    return Ownership(owners, in_force, tuple(_losses(contested, owners)))


def effective(groups: Mapping[Group, Ownership], masks: Iterable[Mask]) -> dict[tuple[Kind, Name], Accepted]:
    """Rules 3 and 4: the document that counts for each name over all layers."""
    hidden = list(masks)
    found: dict[tuple[Kind, Name], Accepted] = {}
    for (_, kind), ownership in sorted(groups.items(), key=lambda item: PRECEDENCE.index(item[0][0])):
        for name, document in ownership.owners.items():
            if not hidden or not any(_masks(mask, document) for mask in hidden):
                found[kind, name] = document
    return found


def _rank(path: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    return natural_key(os.path.basename(path)), path


def _first_claims(
    contenders: Iterable[Contender], incumbents: Mapping[Name, str]
) -> tuple[dict[Name, Accepted], list[tuple[Name, Accepted]]]:
    """Rule 1: the owners, and every claim to a name that more than one document made."""
    owners: dict[Name, Accepted] = {}
    contested: list[tuple[Name, Accepted]] = []
    for contender in contenders:
        document = contender.newest
        for name in document.names:
            rival = owners.setdefault(name, document)
            if rival is document:
                continue
            contested += [(name, rival), (name, document)]
            if _beats(document, rival, incumbents.get(name)):
                owners[name] = document
    return owners, contested


def _beats(document: Accepted, rival: Accepted, incumbent: str | None) -> bool:
    if incumbent in (document.path, rival.path):
        return incumbent == document.path
    return _rank(document.path) < _rank(rival.path)


def _wins_any(document: Accepted, owners: Mapping[Name, Accepted]) -> bool:
    """Whether a document has at least one of its names, or declares none."""
    return not document.names or any(owners[name] is document for name in document.names)


def _fall_back(losers: list[Contender], owners: dict[Name, Accepted]) -> Iterator[Accepted]:
    """Rule 2: the last good documents that take the place of those that won nothing; they become owners."""
    for contender in sorted(losers, key=lambda loser: _rank(loser.newest.path)):
        previous = contender.previous
        if previous is not None and not any(name in owners for name in previous.names):
            owners.update(dict.fromkeys(previous.names, previous))
            yield previous


def _losses(contested: list[tuple[Name, Accepted]], owners: Mapping[Name, Accepted]) -> Iterator[Loss]:
    for (name, path), document in {(name, document.path): document for name, document in contested}.items():
        if owners[name].path != path:
            yield Loss(document, name, owners[name].path)


def _masks(mask: Mask, document: Accepted) -> bool:
    below = PRECEDENCE.index(document.layer) < PRECEDENCE.index(mask.layer)
    return below and mask.kind == document.kind and mask.name == os.path.basename(document.path)


def taken(loss: Loss, place: tuple[int, int]) -> Problem:
    """The problem of a file that declares, at `place`, what another file has."""
    name = " ".join(loss.name)
    message = f"{name} is already declared by {loss.winner}, which keeps it; rename one of the two or remove it"
    return Problem(loss.loser.path, *place, ".".join(map(str, loss.loser.names[loss.name])), message)

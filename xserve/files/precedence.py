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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from xserve.files.examine import Accepted, Name
from xserve.files.names import natural_key
from xserve.files.sources import PRECEDENCE, Kind, Layer

Claim = tuple[Layer, Kind, Name]


@dataclass(frozen=True, slots=True)
class Contender:
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
    """Who has what within each layer."""

    owners: Mapping[Claim, Accepted]
    in_force: Mapping[str, Accepted]  # path -> document
    losses: tuple[Loss, ...]


def assign(contenders: Iterable[Contender], incumbents: Mapping[Claim, str]) -> Ownership:
    """Rules 1 and 2. `incumbents` says which path had a name before."""
    contenders = list(contenders)
    owners = _first_claims((contender.newest for contender in contenders), incumbents)
    in_force = {}
    losers = []
    for contender in contenders:
        if _wins_any(contender.newest, owners):
            in_force[contender.newest.path] = contender.newest
        else:
            losers.append(contender)
    for document in _fall_back(losers, owners):
        in_force[document.path] = document
    return Ownership(owners, in_force, tuple(_losses(contenders, owners)))


def effective(owners: Mapping[Claim, Accepted], masks: Iterable[Mask]) -> dict[tuple[Kind, Name], Accepted]:
    """Rules 3 and 4: the document that counts for each name over all layers."""
    hidden = list(masks)
    found: dict[tuple[Kind, Name], Accepted] = {}
    for (layer, kind, name), document in owners.items():
        if any(_masks(mask, document) for mask in hidden):
            continue
        rival = found.get((kind, name))
        if rival is None or PRECEDENCE.index(layer) > PRECEDENCE.index(rival.layer):
            found[kind, name] = document
    return found


def claims(document: Accepted) -> list[Claim]:
    """What a document claims in its layer."""
    return [(document.layer, document.kind, name) for name in document.names]


def _rank(path: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    return natural_key(os.path.basename(path)), path


def _first_claims(documents: Iterable[Accepted], incumbents: Mapping[Claim, str]) -> dict[Claim, Accepted]:
    owners: dict[Claim, Accepted] = {}
    for document in documents:
        for claim in claims(document):
            rival = owners.get(claim)
            if rival is None or _beats(document, rival, incumbents.get(claim)):
                owners[claim] = document
    return owners


def _beats(document: Accepted, rival: Accepted, incumbent: str | None) -> bool:
    if incumbent in (document.path, rival.path):
        return incumbent == document.path
    return _rank(document.path) < _rank(rival.path)


def _wins_any(document: Accepted, owners: Mapping[Claim, Accepted]) -> bool:
    wanted = claims(document)
    return not wanted or any(owners[claim] is document for claim in wanted)


def _fall_back(losers: list[Contender], owners: dict[Claim, Accepted]) -> Iterator[Accepted]:
    """The last good documents that take the place of those that won nothing; they become owners."""
    for contender in sorted(losers, key=lambda loser: _rank(loser.newest.path)):
        previous = contender.previous
        wanted = claims(previous) if previous is not None else []
        if previous is not None and not any(claim in owners for claim in wanted):
            owners.update(dict.fromkeys(wanted, previous))
            yield previous


def _losses(contenders: list[Contender], owners: Mapping[Claim, Accepted]) -> Iterator[Loss]:
    for contender in contenders:
        newest = contender.newest
        for claim in claims(newest):
            if owners[claim] is not newest:
                yield Loss(newest, claim[2], owners[claim].path)


def _masks(mask: Mask, document: Accepted) -> bool:
    below = PRECEDENCE.index(document.layer) < PRECEDENCE.index(mask.layer)
    return below and mask.kind == document.kind and mask.name == os.path.basename(document.path)

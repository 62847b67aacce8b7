"""What a look would find if some files held other contents. Reads nothing, keeps nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xserve.core.problems import Problem
from xserve.files.examine import Accepted, Judge, Name, Names, examine
from xserve.files.precedence import Contender, Group, Loss, Mask, assign, by_group, effective, taken
from xserve.files.sources import Kind, Source
from xserve.files.syntax import parse


@dataclass(frozen=True, slots=True)
class Preview:
    """The documents in force, who declares what, and what is wrong with the candidates."""

    files: Mapping[str, Accepted]
    names: Mapping[tuple[Kind, Name], Accepted]
    problems: tuple[Problem, ...]


def preview(
    sources: Sequence[Source],
    files: Mapping[str, Accepted],
    contents: Mapping[str, bytes],
    rules: tuple[Judge, Names],
    incumbents: Mapping[Group, Mapping[Name, str]],
    masks: Iterable[Mask],
) -> Preview:
    """`files` with `contents` (by the path where each would stand) in place.

    A path outside all sources is a problem.
    """
    problems: list[Problem] = []
    newest = dict(files)
    for path, raw in contents.items():
        source = next((each for each in sources if each.holds(path)), None)
        if source is None:
            problems.append(Problem(path, 0, 0, "", "is in none of the directories that are read"))
            continue
        candidate = examine(source, path, raw, *rules)
        problems += candidate.problems
        if candidate.accepted is not None:
            newest[path] = candidate.accepted
    contenders = by_group(Contender(document, files.get(path)) for path, document in newest.items())
    groups = {group: assign(rivals, incumbents.get(group, {})) for group, rivals in contenders.items()}
    problems += (_taken(loss, contents) for ownership in groups.values() for loss in ownership.losses)
    in_force = {path: each for ownership in groups.values() for path, each in ownership.in_force.items()}
    return Preview(in_force, effective(groups, masks), tuple(sorted(problems)))


def _taken(loss: Loss, contents: Mapping[str, bytes]) -> Problem:
    raw = contents.get(loss.loser.path)
    return taken(loss, parse(raw).positions.key_at(loss.loser.names[loss.name]) if raw is not None else (0, 0))

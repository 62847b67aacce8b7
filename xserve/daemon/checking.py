"""`check`: what is wrong with files, without a daemon.

A file is judged for itself (syntax, schema, weights) and then in company: it takes its place among the files
that are there, in place of the one that declares the same names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xserve.core.desired import Waiting
from xserve.core.judge import judge, kind_of
from xserve.core.problems import Problem, Severity, has_errors
from xserve.core.reasons import Reason
from xserve.daemon.offline import Offline
from xserve.daemon.world import WeightsFault, World, declared_names, weights_faults
from xserve.files.examine import locate
from xserve.files.guard import MAX_BYTES
from xserve.files.syntax import Document, SyntaxFault, parse

# What another file may still bring: a warning, as configuration managers copy one file after the other.
_MAY_COME = {
    Reason.NO_DEFINITION,
    Reason.NO_WEIGHTS,
    Reason.NEEDS_DOWNLOAD,
    Reason.NO_GPU,
    Reason.PREPARING,
}
_STDIN = "/dev/stdin"


def check_files(
    paths: Sequence[Path], config: str | None, as_path: str | None, kind: str | None, strict: bool
) -> list[Problem]:
    """What is wrong with the files; without paths, with the whole config directory. Errors reject, warnings tell.

    `as_path`: where the one file would stand. `kind`: model, deploy or settings; None: told by content.
    `strict`: what another file may still bring is an error.
    """
    files = Offline.open(config)
    if not paths:
        return [*files.missing(), *files.problems, *_check_all(files.world, strict)]
    return [problem for path in paths for problem in _check_one(files.world, path, as_path, kind, strict)]


def _check_all(world: World, strict: bool) -> Iterator[Problem]:
    """Every file, every set of weights, every deploy entry."""
    sight = world.observe()
    yield from sight.problems
    for registration in sight.registrations.values():
        if registration.layer != "builtin":
            for fault in _faults_of(registration.definition, world):
                place = world.place_of(registration.path, fault.place)
                yield _weights_problem(registration.path, place, fault, strict)
    for waiting in sight.desired.waiting.values():
        place = world.place_of(waiting.order.path, ("models", waiting.uid, *waiting.place))
        yield _waiting_problem(waiting.order.path, place, waiting, strict)


def _check_one(world: World, path: Path, as_path: str | None, kind: str | None, strict: bool) -> list[Problem]:
    raw = _read(path)
    if isinstance(raw, Problem):
        return [raw]
    shown = str(path)
    try:
        document = parse(raw)
    except SyntaxFault as fault:
        return [Problem(shown, fault.line, fault.column, "", fault.message)]
    kind = kind or kind_of(document.data)
    verdict = judge(kind, document.data)
    problems = list(locate(shown, document, verdict))
    if verdict.value is None or has_errors(problems):
        return problems
    if kind == "model":
        for found in _faults_of(verdict.value, world):
            problems.append(_weights_problem(shown, document.positions.at(found.place), found, strict))
    if kind != "settings" and world.layers.exists():
        place = as_path or _place(world, kind, verdict.value)
        problems += _check_in_company(world, document, raw, (shown, place), strict)
    return list(dict.fromkeys(problems))


def _faults_of(definition: Mapping[str, Any], world: World) -> Iterator[WeightsFault]:
    """What is wrong with the weights, also that they would have to be downloaded: an entry's `path` can still help."""
    yield from weights_faults(definition, world.weights)
    for row, spec in enumerate(definition.get("model_specs") or ()):
        if not spec.get("model_uri"):
            sentence = "downloads are not supported yet; give model_uri, or path in the deploy entry"
            yield WeightsFault(sentence, ("model_specs", row), missing=True)


def _check_in_company(
    world: World, document: Document, raw: bytes, paths: tuple[str, str], strict: bool
) -> Iterator[Problem]:
    """Problems that the file has, or makes, among the others. `paths`: the one to show, and where it would stand."""
    shown, place = paths
    before = world.observe()
    known = set(before.problems)
    sight = world.suppose({place: raw})
    for problem in sight.problems:
        if problem not in known:
            yield problem.at(shown) if problem.path == place else problem
    waited = {(each.uid, each.sentence) for each in before.desired.waiting.values()}
    for waiting in sight.desired.waiting.values():
        keys = ("models", waiting.uid, *waiting.place)
        if waiting.order.path == place:
            yield _waiting_problem(shown, document.positions.key_at(keys), waiting, strict)
        elif (waiting.uid, waiting.sentence) not in waited:
            yield _waiting_problem(waiting.order.path, world.place_of(waiting.order.path, keys), waiting, strict)


def _place(world: World, kind: str, value: dict[str, object]) -> str:
    """Where a file without a meaningful name would stand: in place of the one that declares what it declares."""
    sight = world.observe()
    names = declared_names("model" if kind == "model" else "deploy", value)
    for name in names:
        owner = sight.registrations.get((name[0], name[1])) if kind == "model" else sight.orders.get(name[0])
        if owner is not None and owner.layer == "admin":
            return owner.path
    definitions, deploy = world.layers.drop_here()
    return os.path.join(definitions, "candidate.yaml") if kind == "model" else str(deploy)


def _read(path: Path) -> bytes | Problem:
    try:
        with open(_STDIN if str(path) == "-" else path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        return Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")


def _weights_problem(path: str, place: tuple[int, int], fault: WeightsFault, strict: bool) -> Problem:
    severity = Severity.WARNING if fault.missing and not strict else Severity.ERROR
    return Problem(path, *place, ".".join(str(part) for part in fault.place), fault.sentence, severity)


def _waiting_problem(path: str, place: tuple[int, int], waiting: Waiting, strict: bool) -> Problem:
    severity = Severity.WARNING if waiting.reason in _MAY_COME and not strict else Severity.ERROR
    field = ".".join(str(part) for part in ("models", waiting.uid, *waiting.place))
    return Problem(path, *place, field, waiting.sentence, severity)

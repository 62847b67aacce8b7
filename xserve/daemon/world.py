"""Reads the world of files: definitions and deploy files of all layers, engines, weights. Blocking; run in a thread.

`observe` is a whole look; its result is a value. Between looks only weights are asked for again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xserve import __version__
from xserve.core.deploy import entries_of
from xserve.core.desired import Deployment, Desired, Means, Order, Registration, Waiting
from xserve.core.engines import Engine, Gates, Verdict, specs_of, verdicts
from xserve.core.judge import judge
from xserve.core.problems import Problem
from xserve.core.reasons import Reason
from xserve.core.refused import Kind, Refused
from xserve.core.resolve import resolve, suiting, template_trouble
from xserve.core.settings import Settings
from xserve.core.text import path_of
from xserve.daemon.discovery import Found, bundled, discover, equip
from xserve.daemon.settings import SettingsFile
from xserve.files.examine import Accepted, Name, document_hash, positions
from xserve.files.journal import Journal
from xserve.files.layers import Layers
from xserve.files.sources import Kind as FileKind
from xserve.files.store import Look, Store
from xserve.files.tree import Path as Place
from xserve.files.tree import Positions
from xserve.files.weights import WeightsIndex
from xserve.files.writer import StorageFull, file_name, remove
from xserve.files.writer import replace as write_file
from xserve.runtime.environments import Environments

if TYPE_CHECKING:
    from xserve.core.views import Candidate  # `check` works without the shapes of the API

# Weights that a deployment waits for are looked for again so often, seconds.
_WEIGHTS_INTERVAL = 1.0


Declared = Mapping[tuple[FileKind, Name], Accepted]


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look found."""

    registrations: Mapping[tuple[str, str], Registration] = field(default_factory=dict)
    orders: Mapping[str, Order] = field(default_factory=dict)
    desired: Desired = field(default_factory=Desired)
    file_problems: tuple[Problem, ...] = ()  # of single files and directories
    changed: bool = True  # the files say something new
    pending: bool = False  # a file is still changing, or its removal is not believed yet
    again_in: float | None = None  # seconds after which a look can say more; None: nothing is open

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that a person should mend."""
        return (*self.file_problems, *self.desired.problems)


def gates_of(settings: Settings) -> Gates:
    """What the settings allow."""
    return Gates(
        tuple(settings.allow_remote_code), tuple(settings.allow_custom_launchers), tuple(settings.launcher_dirs)
    )


def environments_of(layers: Layers, settings: Settings) -> Environments:
    """Where engines' environments are."""
    directory = settings.environments.directory
    return Environments(Path(directory) if directory else layers.state / "environments")


def declared_names(kind: FileKind, value: Any) -> Mapping[Name, Place]:
    """What a document declares: a registration, or the public names of a deploy file; with the place of each."""
    if kind == "model":
        return {(value["model_type"], value["model_name"]): ("model_name",)}
    return {(uid,): ("models", uid) for uid in value.get("models") or {}}


class World:
    """The files of one configuration. Looks (`observe`, `glance`, `peek`) are made by one thread at a time.

    Everything else may be called by any thread at any time: it writes files, or reads values that a look replaces.
    """

    def __init__(self, layers: Layers, settings: Settings, *, settle: float, hold: float, keep: bool = True) -> None:
        """`keep`: whether the accepted generation is written to disk; a mere question does not write."""
        self.layers = layers
        self._settings = settings
        self.gates = gates_of(settings)
        self.environments = environments_of(layers, settings)
        self._settings_file = SettingsFile(layers, settings)
        self.weights = WeightsIndex()
        journal = Journal(str(layers.journal), read_only=not keep)
        sources = layers.sources(builtin=bundled("models.d"))
        self._store = Store(sources, judge, declared_names, journal, __version__, settle=settle, hold=hold)
        self._look: Look | None = None
        self._file_problems: tuple[Problem, ...] = ()
        self.sight = Sight()
        self._names: Declared = {}  # what the sight was made of
        self._found: tuple[list[Found], list[Problem]] | None = None
        self._placing: tuple[Accepted, Positions] | None = None  # the document that was last asked for a place

    @property
    def engines(self) -> list[Engine]:
        """Every engine as it stands now. Looked for when first asked: a definition is judged without them."""
        make = self._settings.environments.make
        return [equip(each, self.environments, make=make) for each in self._discovered()[0]]

    def _discovered(self) -> tuple[list[Found], list[Problem]]:
        if self._found is None:
            self._found = discover(self._settings.engine_dirs)
        return self._found

    def _means(self) -> Means:
        return Means(self.engines, self.weights, self.gates, self.sight.desired.deployments)

    def observe(self, *, reload: bool = False) -> Sight:
        """One look at everything; also kept as `sight`. `reload`: settle nothing, end holds."""
        if reload:
            self._found = discover(self._settings.engine_dirs)  # one may have been added
            self.environments.forgive()
        look = self._store.look(reload=reload)
        if look.changed or self._look is None:
            self._look, self._file_problems = look, look.problems
            self.sight, self._names = self._sight(look.names, look.problems, look.again_in), look.names
        else:
            self.sight = self._weigh(replace(self.sight, changed=False), look.again_in)
        return self.sight

    def glance(self, paths: Collection[str]) -> Sight | None:
        """The sight after a look at these files only, where they touch no others; `observe` must follow."""
        look = self._store.glance(paths)
        if look is None:
            return None
        self._look = look
        self.sight, self._names = self._sight(look.names, look.problems, look.again_in), look.names
        return self.sight

    def peek(self, candidates: Sequence[Candidate]) -> Sight:
        """A look, and what it would be with the candidates in place."""
        now = self.observe()
        return self.preview(candidates) if candidates else now

    def preview(self, candidates: Sequence[Candidate]) -> Sight:
        """The sight as it would be if the candidates stood in their places. Changes nothing."""
        return self.suppose({candidate.path: candidate.text.encode() for candidate in candidates})

    def suppose(self, contents: Mapping[str, bytes]) -> Sight:
        """The sight as it would be if these contents stood at these paths. Changes nothing."""
        found = self._store.preview(contents)
        others = [each for each in self._file_problems if each.path not in contents]
        return self._sight(found.names, (*others, *found.problems), None)

    def verdicts(self, registration: Registration) -> list[Verdict]:
        """What each engine says to each set of weights of a registration. Looks at these."""
        return list(verdicts(registration.definition, self.engines, self.gates, suiting(self.weights)))

    def resolve_one(self, order: Order) -> Deployment | Waiting:
        """What would become of one more deploy entry."""
        desired = resolve(self.sight.registrations, {order.uid: order}, self._means())
        return desired.deployments.get(order.uid) or desired.waiting[order.uid]

    def definition_trouble(self, value: Mapping[str, Any]) -> str:
        """Why a definition's weights cannot be served as they are; empty where nothing speaks against it."""
        return next((fault.sentence for fault in weights_faults(value, self.weights)), "")

    # --- what the API writes -------------------------------------------------------------------------------

    def write_definition(self, model_type: str, name: str, content: Mapping[str, Any], *, persist: bool) -> str:
        """Write a definition into the state or runtime layer; returns its path. Raises Refused."""
        folder = self.layers.writable("model", persist=persist)
        return _write(folder / file_name(f"{model_type}-{name}"), content)

    def write_entry(self, uid: str, entry: Mapping[str, Any], *, persist: bool) -> str:
        """Write a deploy file with one entry into the state or runtime layer. Raises Refused."""
        folder = self.layers.writable("deploy", persist=persist)
        return _write(folder / file_name(uid), {"version": 1, "models": {uid: entry}})

    def remove(self, path: str) -> None:
        """Remove a file of a layer of ours. Raises Refused."""
        try:
            remove(path)
        except OSError as error:
            raise Refused(Kind.NO_SPACE, f"cannot remove {path}: {error.strerror}") from error

    # --- putting it together -------------------------------------------------------------------------------

    def _sight(self, names: Declared, problems: Sequence[Problem], again_in: float | None) -> Sight:
        registrations = self._registrations(names)
        sight = Sight(registrations, _orders(names), Desired(), tuple(problems))
        return self._weigh(sight, again_in)

    def _registrations(self, names: Declared) -> dict[tuple[str, str], Registration]:
        """Those of the sight before are taken over where their document is the same: there may be thousands."""
        known, before = self.sight.registrations, self._names
        found = {}
        for key, file in names.items():
            if key[0] == "model":
                name = (key[1][0], key[1][1])
                found[name] = known[name] if before.get(key) is file else _registration(name, file)
        return found

    def _weigh(self, sight: Sight, again_in: float | None) -> Sight:
        """Resolve the entries, which looks at the weights; they may have arrived."""
        troubles = tuple(self._settings_file.problems())
        if not sight.orders:
            return replace(sight, desired=Desired(problems=troubles), pending=again_in is not None, again_in=again_in)
        desired = resolve(sight.registrations, sight.orders, self._means())
        troubles = (*troubles, *self._discovered()[1])
        desired = replace(desired, problems=(*troubles, *(self._placed(each) for each in desired.problems)))
        wants_weights = any(each.reason is Reason.NO_WEIGHTS for each in desired.waiting.values())
        soon = [each for each in (again_in, _WEIGHTS_INTERVAL if wants_weights else None) if each is not None]
        pending = again_in is not None
        return replace(sight, desired=desired, pending=pending, again_in=min(soon, default=None))

    def _placed(self, problem: Problem) -> Problem:
        """A problem of a deploy entry with the line and column of the entry."""
        keys = problem.field.removeprefix("models.").rpartition(".")  # a public name may hold dots, a key does not
        line, column = self.place_of(problem.path, ("models", keys[0], keys[2]))
        return replace(problem, line=line, column=column)

    def place_of(self, path: str, keys: Place) -> tuple[int, int]:
        """Line and column of a key in the accepted document at `path`; 0 and 0 where that is not known."""
        file = self._look.files.get(path) if self._look else None
        if file is None:
            return 0, 0
        if self._placing is None or self._placing[0] is not file:
            # Kept, as questions come in rows: a deploy file of thousands of entries is parsed once and not for each.
            self._placing = file, positions(file)
        return self._placing[1].key_at(keys)


@dataclass(frozen=True, slots=True)
class WeightsFault:
    """Why one set of weights cannot be served as it is."""

    sentence: str
    place: tuple[str | int, ...]  # in the definition
    missing: bool = False  # nothing is there (yet)


def weights_faults(value: Mapping[str, Any], look: WeightsIndex) -> list[WeightsFault]:
    """What is wrong with the sets of weights that a definition has on this machine."""
    faults: list[WeightsFault] = []
    has_specs = value.get("model_specs") is not None
    for row, spec in enumerate(specs_of(value)):
        if not spec.get("model_uri"):
            continue
        place: tuple[str | int, ...] = ("model_specs", row, "model_uri") if has_specs else ("model_uri",)
        path = path_of(spec["model_uri"])
        facts = look(path, str(spec["model_format"]))
        template = template_trouble(value, path, facts)
        if facts.trouble:
            faults.append(WeightsFault(facts.trouble, place))
        elif not facts.kind:
            faults.append(WeightsFault(f"the weights are not there: {path}", place, missing=True))
        elif template is not None:
            faults.append(WeightsFault(template[1], ("chat_template",)))
    return faults


def _registration(name: Name, file: Accepted) -> Registration:
    return Registration(
        file.data["model_type"], name[1], file.data, file.layer, file.path, file.document_hash, file.stale
    )


def _orders(names: Declared) -> dict[str, Order]:
    """The deploy entries that count, in the order of their files and of their places in them."""
    orders: dict[str, Order] = {}
    entries: dict[str, Mapping[str, Any]] = {}
    for (kind, name), file in names.items():
        if kind != "deploy":
            continue
        if file.path not in entries:
            entries[file.path] = entries_of(file.data)
        entry, uid = entries[file.path][name[0]], name[0]
        generation = document_hash(entry.model_dump(mode="json"))
        orders[uid] = Order(uid, entry, file.layer, file.path, generation, file.stale)
    return orders


def _write(path: Path, content: Mapping[str, Any]) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(str(path), json.dumps(content, ensure_ascii=False, indent=2).encode() + b"\n")
    except StorageFull as error:
        raise Refused(Kind.NO_SPACE, f"cannot write {path}: {error.strerror}") from error
    except OSError as error:
        raise Refused(Kind.FAILED, f"cannot write {path}: {error.strerror}") from error
    return str(path)

"""All files of all layers: one pass looks at everything there is and says what is in force.

A pass lists each directory, asks each name for its signature, reads only what may have changed, judges only
what is new, and keeps the last good document of every file that is broken, unreadable or still changing. It
reads no events and needs none. What is in force is kept in a journal, so that a restart changes nothing.

Nothing here waits: `Look.again_in` says when the next pass can say more.

A pass over ten thousand files takes a tenth of a second. `glance` is for whoever knows where something changed: it
tells the plain cases at once, those in which a file's new document touches no other file, and leaves everything
else to the pass that has to follow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from xserve.core.problems import Problem, Severity
from xserve.files.examine import Accepted, Judge, Name, Names, content_hash, examine, find, unreadable
from xserve.files.journal import Journal
from xserve.files.keeping import Keeper
from xserve.files.precedence import Contender, Group, Mask, Ownership, assign, effective, taken
from xserve.files.preview import Preview, preview
from xserve.files.reader import Unreadable, is_null, read, reason_of, signature_of
from xserve.files.record import Record
from xserve.files.removal import Waits, due, is_mass, note_absent, patience
from xserve.files.sources import Entry, Kind, Source, Unavailable, entries, entry_of

_KEPT = "what it held stays in force until it is back. An empty directory in its place lets it go."
_HELD = "Most definitions vanished at once; they stay in force for one resync. A reload lets them go now."


@dataclass(frozen=True, slots=True)
class Look:
    """What one pass found."""

    files: Mapping[str, Accepted]
    """Path -> the document in force, of every layer."""
    names: Mapping[tuple[Kind, Name], Accepted]
    """(kind, name) -> the document that counts for it over all layers."""
    problems: tuple[Problem, ...]
    changed: bool
    """Something above differs from the pass before."""
    again_in: float | None
    """Seconds after which another pass can say more, without any event; None: nothing is open."""


@dataclass(slots=True)
class Store:
    """The state between passes. Not thread-safe: one pass at a time."""

    sources: Sequence[Source]
    judge: Judge
    names: Names
    journal: Journal | None = None
    version: str = ""
    """Of the program: the judgement of another version is not taken over from the journal."""
    clock: Callable[[], float] = time.monotonic
    wall_ns: Callable[[], int] = time.time_ns
    """The clock that file timestamps follow."""
    settle: float = 0.5
    """Seconds that a file must stand unchanged before an edit in place, a fault or a removal counts."""
    hold: float = 30.0
    """Seconds for which the removal of most of a directory's definitions is held: one resync."""
    _records: dict[Source, dict[str, Record]] = field(init=False)
    _masks: dict[Source, frozenset[Mask]] = field(init=False)
    _owners: dict[Group, dict[Name, str]] = field(init=False)
    _groups: dict[Group, Ownership] = field(default_factory=dict, init=False)
    _keeper: Keeper = field(init=False)
    _notes: tuple[Problem, ...] = field(init=False)
    _conditions: tuple[Problem, ...] = ()
    _last: Look | None = None
    _glanced: bool = False
    """Records were brought up to date since the last pass: it has to describe everything."""

    def __post_init__(self) -> None:
        self._keeper = Keeper(self.journal, self.version)
        self._records = {source: {} for source in self.sources}
        self._masks = dict.fromkeys(self.sources, frozenset())
        kept, self._owners, notes = self._keeper.restore(self.sources, self.judge, self.names)
        for record in kept:
            self._records[record.source][record.path] = record
        where = self.journal.path if self.journal else ""
        self._notes = tuple(Problem(where, 0, 0, "", note, Severity.WARNING) for note in notes)

    def look(self, *, reload: bool = False) -> Look:
        """One pass over everything. Blocks for as long as the disk does; raises nothing that a file can cause.

        `reload`: whoever asks says that all files are complete now: nothing is given time to settle, and the
        hold on a mass removal ends.
        """
        walk = _Walk(self.clock(), Waits(0.0, 0.0) if reload else Waits(self.settle, self.hold))
        for source in self.sources:
            self._pass(source, walk)
        stirred = walk.stirred or self._glanced or self._keeper.behind
        if self._last is None or stirred or walk.conditions != self._conditions:
            self._conditions, self._glanced = walk.conditions, False
            self._last = self._describe(self._last)
        else:
            self._last = replace(self._last, changed=False)
        self._last = replace(self._last, again_in=self._again_in(walk))
        return self._last

    def glance(self, paths: Collection[str]) -> Look | None:
        """What is in force now, by a look at these files only; None where that cannot tell. A pass must follow."""
        last = self._last
        if last is None or any(self._masks.values()):
            return None
        walk = _Walk(self.clock(), Waits(self.settle, self.hold))
        visited = [record for path in paths if (record := self._visit_one(path, walk)) is not None]
        self._glanced = self._glanced or bool(visited)
        troubled = {problem.path for problem in last.problems}
        if not visited or not all(_is_plain(record, last, troubled) for record in visited):
            return None
        fresh = [record.newest for record in visited if record.newest]
        files = {**last.files, **{each.path: each for each in fresh}}
        names = {**last.names, **{(each.kind, name): each for each in fresh for name in each.names}}
        self._last = replace(last, files=MappingProxyType(files), names=MappingProxyType(names), changed=True)
        return self._last

    def _visit_one(self, path: str, walk: _Walk) -> Record | None:
        """Bring the record of one file up to date; None where there is no such file of ours."""
        source = next((each for each in self.sources if each.holds(path)), None)
        found = entry_of(source, path) if source is not None else None
        if source is None or found is None:
            return None
        self._visit_all(source, [found], walk)
        return self._records[source][path]

    def preview(self, contents: Mapping[str, bytes]) -> Preview:
        """What a look would find if these contents stood at these paths. Changes nothing."""
        files = (self._last or self.look()).files
        masks = [mask for group in self._masks.values() for mask in group]
        return preview(self.sources, files, contents, (self.judge, self.names), self._owners, masks)

    def _pass(self, source: Source, walk: _Walk) -> None:
        """Bring the records of one source up to date."""
        records = self._records[source]
        try:
            found = entries(source)
        except Unavailable as reason:
            walk.unavailable.add(source)
            if any(record.force for record in records.values()):
                walk.note(source.directory, f"This directory {reason}; {_KEPT}")
            return
        masks = frozenset(_mask(source, entry) for entry in found if entry.link and _is_mask(entry))
        hidden = {mask.name for mask in masks}
        present = {entry.path: entry for entry in found if not (hidden and os.path.basename(entry.path) in hidden)}
        walk.stirred |= masks != self._masks[source]
        self._masks[source] = masks
        self._visit_all(source, present.values(), walk)
        self._drop(source, present, walk)

    def _visit_all(self, source: Source, found: Iterable[Entry], walk: _Walk) -> None:
        records, roots = self._records[source], source.allowed()
        for entry in found:
            record = records.get(entry.path)
            signature = None if isinstance(entry.stat, OSError) else signature_of(entry.stat)
            if record is not None and record.is_still(signature):
                continue
            walk.stirred = True
            if record is None:
                record = records[entry.path] = Record(source, entry.path)
            record.see(signature, walk.now)
            self._read(record, entry, roots, walk.now)
            record.settle(walk.now, self.wall_ns(), walk.waits.settle)

    def _read(self, record: Record, entry: Entry, roots: Sequence[str], now: float) -> None:
        """Read the file, unless its signature proves what it holds."""
        if isinstance(entry.stat, OSError):
            record.take(unreadable(record.path, reason_of(entry.stat)), now)
            return
        if not record.reread:
            return
        try:
            content = read(record.path, roots, self.wall_ns)
        except Unreadable as reason:
            record.take(unreadable(record.path, str(reason)), now)
            return
        record.see(content.signature, now)
        record.reread = content.racy
        if record.draft is None or record.draft.content_hash != content_hash(content.raw):
            record.take(examine(record.source, record.path, content.raw, self.judge, self.names), now)

    def _drop(self, source: Source, present: Collection[str], walk: _Walk) -> None:
        """Forget the files whose removal counts by now."""
        records = self._records[source]
        walk.stirred |= note_absent(records, present, walk.now)
        for path in due(records, patience(source, records, walk.waits), walk.now):
            del records[path]
            walk.stirred = True
        if is_mass(source, records):
            walk.note(source.directory, _HELD)

    def _describe(self, last: Look | None) -> Look:
        """What is in force now, kept in the journal."""
        self._assign()
        records = {path: record for group in self._records.values() for path, record in group.items()}
        standing = {path: document for path, record in records.items() if (document := record.standing())}
        masks = (mask for group in self._masks.values() for mask in group)
        counting = effective(self._groups, masks)
        names = {key: standing[document.path] for key, document in counting.items()}
        problems = tuple(sorted(self._problems(records)))
        changed = last is None or (last.files, last.names, last.problems) != (standing, names, problems)
        return Look(MappingProxyType(standing), MappingProxyType(names), problems, changed, None)

    def _assign(self) -> None:
        """Decide who owns which name, and so what is in force of each file."""
        contenders: dict[Group, list[Contender]] = {}
        for source, records in self._records.items():
            rivals = [Contender(record.newest, record.force) for record in records.values() if record.newest]
            if rivals:
                contenders.setdefault((source.layer, source.kind), []).extend(rivals)
        self._groups = {group: assign(rivals, self._owners.get(group, {})) for group, rivals in contenders.items()}
        self._owners = {
            group: {name: document.path for name, document in ownership.owners.items()}
            for group, ownership in self._groups.items()
        }
        for source, records in self._records.items():
            ownership = self._groups.get((source.layer, source.kind))
            for path, record in records.items():
                record.force = ownership.in_force.get(path) if ownership else None

    def _problems(self, records: Mapping[str, Record]) -> Iterator[Problem]:
        for record in records.values():
            if record.problems:
                yield from record.problems
        for ownership in self._groups.values():
            yield from (taken(loss, find(loss.loser, loss.loser.names[loss.name])) for loss in ownership.losses)
        yield from self._conditions
        yield from self._notes
        fault = self._keeper.save(records, self._groups.values())
        if fault and self.journal:
            yield Problem(self.journal.path, 0, 0, "", fault)

    def _again_in(self, walk: _Walk) -> float | None:
        """Seconds until something that is open now can be decided."""
        moments = []
        for source, records in self._records.items():
            if source in walk.unavailable:
                continue  # its files are decided about when it is back, however long ago they were seen
            removal = patience(source, records, walk.waits)
            for record in records.values():
                if record.gone_since is not None:
                    moments.append(record.gone_since + removal)
                elif not record.settled:
                    moments.append(record.since + walk.waits.settle)
        return max(0.0, min(moments) - walk.now) if moments else None


@dataclass(slots=True)
class _Walk:
    """What one pass carries along."""

    now: float
    waits: Waits
    stirred: bool = False  # some record may have changed
    conditions: tuple[Problem, ...] = ()  # what is wrong with whole directories
    unavailable: set[Source] = field(default_factory=set)  # nothing is known about their files

    def note(self, directory: str, sentence: str) -> None:
        self.conditions += (Problem(directory, 0, 0, "", sentence),)


def _is_plain(record: Record, last: Look, troubled: Collection[str]) -> bool:
    """Whether a record's document counts and touches no other file: it gives up no name, and takes none."""
    newest, before = record.newest, last.files.get(record.path)
    if newest is None or not record.settled or record.problems or record.path in troubled:
        return False
    if not newest.names or (before is not None and not before.names.keys() <= newest.names.keys()):
        return False
    owners = (last.names.get((newest.kind, name)) for name in newest.names)
    return all(owner is None or owner.path == record.path for owner in owners)


def _is_mask(entry: Entry) -> bool:
    return not isinstance(entry.stat, OSError) and is_null(entry.stat)


def _mask(source: Source, entry: Entry) -> Mask:
    return Mask(source.layer, source.kind, os.path.basename(entry.path))

"""Between the journal's rows and the store's records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xserve.core.problems import Problem, Severity
from xserve.files.examine import Accepted, Candidate, Judge, Name, Names, accept
from xserve.files.journal import Journal, Row
from xserve.files.precedence import Group, Ownership
from xserve.files.record import Record
from xserve.files.sources import Source


@dataclass(slots=True)
class Keeper:
    """Restores records at start and keeps the journal abreast of what is in force."""

    journal: Journal | None
    version: str  # of the program; another version's judgement is not relied on
    saved: dict[str, tuple[str, str, tuple[Name, ...]]] = field(default_factory=dict)

    @property
    def behind(self) -> bool:
        """Something in force is not on disk yet."""
        return self.journal is not None and self.journal.behind

    def restore(
        self, sources: Sequence[Source], judge: Judge, names: Names
    ) -> tuple[list[Record], dict[Group, dict[Name, str]], tuple[str, ...]]:
        """The records that the journal proves, who owned which name, and a sentence for each thing lost."""
        rows, notes = self.journal.load() if self.journal else ([], ())
        records: list[Record] = []
        owners: dict[Group, dict[Name, str]] = {}
        for row in rows:
            self.saved[row.path] = _essence(row)
            source = next((source for source in sources if _holds(source, row)), None)
            record = self._record(source, row, judge, names) if source else None
            if source and record:
                records.append(record)
                owners.setdefault((source.layer, source.kind), {}).update(dict.fromkeys(row.owns, row.path))
        return records, owners, notes

    def save(self, records: Mapping[str, Record], groups: Iterable[Ownership]) -> str:
        """Write what changed since the last save. Returns "" or a sentence on why it could not be written."""
        if self.journal is None:
            return ""
        wanted = {
            path: (document.content_hash, document.document_hash, owns)
            for ownership in groups
            for path, document, owns in _owned(ownership)
        }
        changed = [path for path, essence in wanted.items() if self.saved.get(path) != essence]
        gone = [path for path in self.saved if path not in wanted]
        if not (changed or gone or self.journal.behind):
            return ""

        def rows(paths: Iterable[str]) -> Iterator[Row]:
            return (self._row(records[path], wanted[path][2]) for path in paths)

        fault = self.journal.save(rows(changed), gone, lambda: rows(wanted))
        if not fault:
            self.saved = wanted
        return fault

    def _row(self, record: Record, owns: tuple[Name, ...]) -> Row:
        document = record.force
        assert document is not None
        return Row(
            path=record.path,
            layer=document.layer,
            kind=document.kind,
            content_hash=document.content_hash,
            document_hash=document.document_hash,
            data=document.data,
            signature=record.proven(),
            owns=owns,
            warnings=_warnings(record),
            version=self.version,
        )

    def _record(self, source: Source, row: Row, judge: Judge, names: Names) -> Record | None:
        if row.version != self.version:
            return _rejudged(source, row, judge, names)
        document = Accepted(
            row.path,
            source.layer,
            source.kind,
            row.content_hash,
            row.document_hash,
            row.data,
            names(source.kind, row.data),
        )
        problems = tuple(Problem(row.path, *warning, Severity.WARNING) for warning in row.warnings)
        return Record(
            source,
            row.path,
            signature=row.signature if row.signature is None else _five(row.signature),
            reread=row.signature is None,
            draft=Candidate(row.content_hash, document, problems),
            settled=True,
            newest=document,
            force=document,
            problems=problems,
        )


def _rejudged(source: Source, row: Row, judge: Judge, names: Names) -> Record | None:
    """A record of another version's document, judged again; its file is read again in any case."""
    verdict = judge(source.kind, row.data)
    if verdict.value is None:
        return None
    document = accept(source, row.path, row.content_hash, verdict.value, names)
    return Record(source, row.path, newest=document, force=document)


def _holds(source: Source, row: Row) -> bool:
    return (source.layer, source.kind) == (row.layer, row.kind) and source.holds(row.path)


def _essence(row: Row) -> tuple[str, str, tuple[Name, ...]]:
    return row.content_hash, row.document_hash, row.owns


def _owned(ownership: Ownership) -> Iterator[tuple[str, Accepted, tuple[Name, ...]]]:
    """Path, document in force, and the names that it has."""
    owners, contested = ownership.owners, bool(ownership.losses)
    for path, document in ownership.in_force.items():
        names = [name for name in document.names if owners[name] is document] if contested else document.names
        yield path, document, tuple(names)


def _warnings(record: Record) -> tuple[tuple[int, int, str, str], ...]:
    return tuple(
        (problem.line, problem.column, problem.field, problem.message)
        for problem in record.problems
        if problem.severity is Severity.WARNING
    )


def _five(signature: Iterable[int]) -> tuple[int, int, int, int, int]:
    device, inode, size, mtime, ctime = signature
    return device, inode, size, mtime, ctime

"""What is known about one file, and when a new content of it may be acted on.

A file may be looked at while it is being written. Its new content counts at once only where it cannot be the
front part of something longer:

1. the name leads to another inode than before, and
2. the document is good, and
3. it ends with the bracket that it began with (JSON, or an explicit end mark); or the last change of the inode
   was not a write (a rename or a change of mode comes after the last write: ctime > mtime); or the last write
   is older than the settling time.

Everything else, so any change in place and any content that is not good, waits until the signature has stood
unchanged for the settling time; then it is accepted, or its problems are reported. Until then the last good
document stays in force. The same patience holds for a name that vanished: some editors remove a file for a
moment while they replace it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xserve.core.problems import Problem
from xserve.files.examine import Accepted, Candidate
from xserve.files.reader import Signature
from xserve.files.sources import Source

SETTLING = "it is still changing; it is read when it has been unchanged for a moment"

GONE = "the file is gone; what it said stays in force for a moment"


@dataclass(slots=True)
class Record:
    """The state of one path. Times are seconds on the store's clock."""

    source: Source
    path: str
    signature: Signature | None = None  # as last seen; None: cannot be asked
    since: float = 0.0  # when that signature was first seen
    fresh: bool = True  # the inode was not seen under this name before
    reread: bool = True  # the signature alone does not prove that the content is the same
    draft: Candidate | None = None  # the content last read
    settled: bool = False  # the draft was accepted or its problems reported
    newest: Accepted | None = None  # the newest good document
    force: Accepted | None = None  # the document in force: `newest`, unless its names belong to others
    problems: tuple[Problem, ...] = ()
    gone_since: float | None = None

    def is_still(self, signature: Signature | None) -> bool:
        """Whether nothing can have changed since it was looked at, and nothing is open."""
        quiet = self.settled and not self.reread and self.gone_since is None
        return quiet and signature is not None and signature == self.signature

    def see(self, signature: Signature | None, now: float) -> None:
        """Take note of what the name leads to now."""
        self.gone_since = None
        if signature == self.signature and self.draft is not None:
            return
        self.fresh = self._replaced_by(signature) or (self.fresh and not self._was_read())
        self.signature, self.since = signature, now
        self.settled, self.reread = False, True

    def take(self, draft: Candidate, now: float) -> None:
        """Take note of what the file holds now."""
        known = self.draft
        if known is not None and known.content_hash != draft.content_hash and self.settled:
            self.settled, self.since, self.fresh = False, now, False
        self.draft = draft

    def settle(self, now: float, wall_ns: int, patience: float) -> bool:
        """Accept or report the draft if its time has come; whether that changed anything."""
        draft = self.draft
        if self.settled or draft is None or not self._ripe(draft, now, wall_ns, patience):
            return False
        before = (self.newest, self.problems)
        self.settled = True
        self.newest = draft.accepted or self.newest
        self.problems = draft.problems
        return before != (self.newest, self.problems)

    def standing(self) -> Accepted | None:
        """The document in force, marked with how the file compares to it."""
        if self.force is None:
            return None
        if self.gone_since is not None:
            return replace(self.force, pending=GONE)
        if not self.settled and self.draft is not None and self.draft.content_hash != self.force.content_hash:
            return replace(self.force, pending=SETTLING)
        behind = self.force is not self.newest or not (self.draft and self.draft.accepted)
        return replace(self.force, stale=True) if behind and self.draft is not None else self.force

    def proven(self) -> Signature | None:
        """The signature that proves that the file still says what is in force; None where none does."""
        same = self.draft is not None and self.draft.accepted is not None and self.draft.accepted is self.force
        return self.signature if same and self.settled and not self.reread else None

    def _replaced_by(self, signature: Signature | None) -> bool:
        return signature is not None and (self.signature is None or self.signature[:2] != signature[:2])

    def _was_read(self) -> bool:
        return self.draft is not None and self.draft.content_hash != ""

    def _ripe(self, draft: Candidate, now: float, wall_ns: int, patience: float) -> bool:
        if now - self.since >= patience:
            return True
        if draft.accepted is None:
            return False
        if self.newest is not None and draft.content_hash == self.newest.content_hash:
            return True
        return self.fresh and (draft.closed or self._written_out(wall_ns, patience))

    def _written_out(self, wall_ns: int, patience: float) -> bool:
        if self.signature is None:
            return False
        *_, mtime, ctime = self.signature
        return ctime > mtime or wall_ns - mtime >= patience * 1e9

"""When a name that vanished is believed to be gone.

A removal counts once the name has been missing for the settling time. Where at least three definitions and
more than half of a directory's go at once, it looks more like an unmounted volume or a slip of the hand than
like a wish: such a removal is held for one resync, unless a reload confirms it. In the layers of the API a
removal counts at once: a file goes there because somebody asked for just that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from xserve.files.record import Record
from xserve.files.sources import API_LAYERS, Source

MASS = 3


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds to wait: before a change of one file counts, and before a mass removal does."""

    settle: float
    hold: float


def note_absent(records: Mapping[str, Record], present: Collection[str], now: float) -> bool:
    """Mark the records whose name is not there; whether any was marked just now."""
    newly = [record for path, record in records.items() if path not in present and record.gone_since is None]
    for record in newly:
        record.gone_since = now
    return bool(newly)


def is_mass(source: Source, records: Mapping[str, Record]) -> bool:
    """Whether most of the definitions of a directory are missing that people look after."""
    if source.kind != "model" or source.single or source.layer in API_LAYERS:
        return False
    in_force = [record for record in records.values() if record.force is not None]
    missing = sum(record.gone_since is not None for record in in_force)
    return missing >= MASS and 2 * missing > len(in_force)


def patience(source: Source, records: Mapping[str, Record], waits: Waits) -> float:
    """Seconds for which a name has to be missing before its removal counts."""
    if source.layer in API_LAYERS:
        return 0.0
    return waits.hold if is_mass(source, records) else waits.settle


def due(records: Mapping[str, Record], seconds: float, now: float) -> list[str]:
    """The paths whose removal counts now: missing for so many seconds, or never in force."""
    return [
        path
        for path, record in records.items()
        if record.gone_since is not None and (record.force is None or now - record.gone_since >= seconds)
    ]

"""Each engine behind xserve against the same library used directly, in turns within one run.

Direct: the library gets what no server gets, all requests of n clients in one call, again and again, in a process
that runs with the engine's own interpreter. Behind xserve: n clients send their requests through the gateway, each
the next one when it is answered; texts are streamed. Both compute with one thread and stay loaded while the other is
measured. Of the rounds the middle one counts; the least and the largest share stand beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from . import media, texts
from .alone import alone
from .clients import Rate, clients, over_port
from .daemon import config_directory
from .figure import Figure
from .row import Row, deployed

_ROUNDS = 3
_SECONDS = 2.0  # of a level, at least
_WARM = 0.5  # seconds
_MANY = 8  # requests at once, for a row's `gain`


@dataclass(frozen=True, slots=True)
class Pair:
    """Items per second, of the same kind and at the same level."""

    alone: float
    served: float

    @property
    def share(self) -> float:
        """Of the library's rate."""
        return self.served / self.alone


ROWS: dict[str, Callable[[], Row]] = {
    "llama_cpp": texts.llama_cpp,
    "transformers": texts.transformers,
    "embedding": texts.embedding,
    "rerank": texts.rerank,
    "audio": lambda: media.hearing("audio", "whisper-tiny-en", device="cpu"),
    "faster_whisper": lambda: media.hearing("faster_whisper", "whisper-tiny-en-ct2", device="cpu", beam_size=1),
    "piper": lambda: media.speaking("piper", "piper-joe"),
    "kokoro": lambda: media.speaking("kokoro", "kokoro", language="en-us"),
    "diffusers": media.drawing,
    "flexible": media.predicting,
}
SLOW = ("audio", "faster_whisper", "kokoro")
"""Compute one request after the other, for so long that many of them wait for most of a minute."""


def measure() -> Iterator[Figure]:
    """All rows, of the slow ones the lower levels."""
    for name, make in ROWS.items():
        row = make()
        yield from measure_row(replace(row, levels=row.levels[:-1]) if name in SLOW else row)


def measure_long() -> Iterator[Figure]:
    """What takes minutes: vLLM, whose start alone takes one, and the highest level of the slow rows."""
    yield from measure_row(texts.vllm())
    for name in SLOW:
        row = ROWS[name]()
        yield from measure_row(replace(row, levels=row.levels[-1:]))


def measure_row(row: Row) -> Iterator[Figure]:
    """The figures of one row."""
    print(f"  {row.name} ...", flush=True)
    with config_directory() as config, deployed(config, row) as daemon, alone(row, daemon) as direct:
        found = _rounds(row, direct, clients(row, over_port(daemon.port)))
    for level, pairs in found.items():
        yield _compared(row, level, pairs)
    if row.gain:
        gain = statistics.median(many.served / one.served for one, many in zip(found[1], found[_MANY], strict=True))
        yield Figure(f"{row.name}, {_MANY} at once over one", gain, "x", least=row.gain, note="both behind xserve")


def _rounds(row: Row, direct: Rate, served: Rate) -> dict[int, list[Pair]]:
    """Pairs by level. A round goes through all levels, so that what varies slowly varies for all."""
    for level in row.levels[:2]:
        direct(level, _WARM)
        served(level, _WARM)
    found: dict[int, list[Pair]] = {level: [] for level in row.levels}
    for _ in range(_ROUNDS):
        known = None
        for level in row.levels:
            known = known if known and row.serial else direct(level, _SECONDS)
            found[level].append(Pair(known, served(level, _SECONDS)))
    return found


def _compared(row: Row, level: int, pairs: Sequence[Pair]) -> Figure:
    least, *_, most = ordered = sorted(pairs, key=lambda pair: pair.share)
    middle = ordered[len(ordered) // 2]
    note = f"{middle.served:.3g} {row.unit} served, {middle.alone:.3g} directly; {least.share:.2f} to {most.share:.2f}"
    return Figure(f"{row.name}, {level} at once, over the library", middle.share, "x", least=row.target, note=note)

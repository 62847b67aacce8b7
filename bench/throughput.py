"""Each engine behind xserve against the same library used directly, in turns within one run.

Direct: the library gets what no server gets, all requests of n clients in one call, again and again, in a process
that runs with the engine's own interpreter. Behind xserve: n clients send their requests through the gateway, each
the next one when it is answered; texts are streamed. Both compute with one thread and stay loaded while the other is
measured. A round measures every level, so that what varies slowly on the machine varies for both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from . import media, texts
from .alone import alone
from .clients import Rate, clients, over_port
from .daemon import config_directory
from .figure import Figure
from .row import Row, deployed

_ROUNDS = 3
_SECONDS = 1.5  # of a level; answers under way are waited for
_ENOUGH = 12.0  # seconds of a level in all rounds: what takes long need not be repeated
_WARM = 0.5  # seconds
_STREAMS = 8  # at once, for a row's `gain`


@dataclass(frozen=True, slots=True)
class Pair:
    """Items per second, of the same kind and at the same level."""

    alone: float
    served: float

    @property
    def share(self) -> float:
        """Of the library's rate."""
        return self.served / self.alone


Make = Callable[[], Row]
ROWS: dict[str, Make] = {
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


def measure() -> Iterator[Figure]:
    """All rows."""
    for name in ROWS:
        yield from measure_row(ROWS[name])


def measure_vllm() -> Iterator[Figure]:
    """vLLM, which takes the better part of a minute to start."""
    yield from measure_row(texts.vllm)


def measure_row(make: Make) -> Iterator[Figure]:
    """The figures of one row."""
    row = make()
    print(f"  {row.name} ...", flush=True)
    with config_directory() as config, deployed(config, row) as daemon, alone(row, daemon) as direct:
        found = _rounds(row, direct, clients(row, over_port(daemon.port)))
    for level, pairs in found.items():
        yield _compared(row, level, pairs)
    if row.gain:
        gains = [many.served / one.served for one, many in zip(found[1], found[_STREAMS], strict=False)]
        note = f"{row.unit}, both behind xserve"
        yield Figure(
            f"{row.name}, {_STREAMS} at once over one", statistics.median(gains), "x", least=row.gain, note=note
        )


def _rounds(row: Row, direct: Rate, served: Rate) -> dict[int, list[Pair]]:
    """Pairs by level. The level goes round within the rounds."""
    for level in row.levels[:2]:
        direct(level, _WARM)
        served(level, _WARM)
    found: dict[int, list[Pair]] = {level: [] for level in row.levels}
    spent = dict.fromkeys(row.levels, 0.0)
    for _ in range(_ROUNDS):
        known = None
        for level in (level for level in row.levels if spent[level] < _ENOUGH):
            began = time.monotonic()
            known = known if known and row.serial else direct(level, _SECONDS)
            found[level].append(Pair(known, served(level, _SECONDS)))
            spent[level] += time.monotonic() - began
    return found


def _compared(row: Row, level: int, pairs: Sequence[Pair]) -> Figure:
    middle = statistics.median_low([pair.share for pair in pairs])
    pair = next(pair for pair in pairs if pair.share == middle)
    note = f"{pair.served:.3g} {row.unit} served, {pair.alone:.3g} directly; the middle one of {len(pairs)}"
    return Figure(f"{row.name}, {level} at once, over the library", middle, "x", least=row.target, note=note)

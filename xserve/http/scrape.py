"""The page of `/metrics`: our own families and those of every ready engine, merged into one valid text.

Engines are asked at the same time over their sockets, with a short deadline: one that hangs costs its own
figures only. Each of their samples gets the labels `model` and `replica`; a label of that name which the engine
had set itself becomes `exported_model`, as Prometheus does it. A family has one type: where two
disagree, the first stays and a comment says what was left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from xserve.http.call import Parts
from xserve.http.upstream import Upstream
from xserve.http.wire import UpstreamError

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
DEADLINE = 2.0
"""Seconds that an engine has for its figures: well within a scraper's usual ten."""
MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where one replica's figures are."""

    model: str
    replica: str
    address: str
    path: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one replica said."""

    source: Source
    text: str = ""
    trouble: str = ""


async def metrics_page(parts: Parts, deadline: float = DEADLINE) -> bytes:
    """The whole page. Never fails on an engine's account."""
    readings = await asyncio.gather(*(_read(parts.upstream, source, deadline) for source in sources(parts)))
    own = list(parts.registry.collect())
    return await asyncio.to_thread(merge, own, readings)  # a large engine's text takes a while to parse


def sources(parts: Parts) -> Iterator[Source]:
    """Every ready replica whose engine has figures."""
    for target in parts.traffic.targets():
        deployment = parts.control.deployment(target.uid)
        path = parts.engine_metrics.get(deployment.launch.engine) if deployment else None
        if path is not None:
            for replica in target.replicas:
                yield Source(target.uid, replica.instance, replica.address, path)


async def _read(upstream: Upstream, source: Source, deadline: float) -> Reading:
    try:
        answer = await upstream.fetch(source.address, "GET", source.path, timeout=deadline, limit=MAX_BYTES)
    except TimeoutError:
        return Reading(source, trouble=f"no answer within {deadline:g} seconds")
    except UpstreamError as error:
        return Reading(source, trouble=str(error))
    if answer.status != 200:
        return Reading(source, trouble=f"status {answer.status}")
    return Reading(source, answer.body.decode("utf-8", "replace"))


def merge(own: Iterable[Metric], readings: Iterable[Reading]) -> bytes:
    """One text of all families, each with one HELP and one TYPE; comments at its end say what is missing."""
    families = _Families(own)
    for reading in readings:
        trouble = reading.trouble or families.add_text(reading)
        if trouble:
            families.comment(reading.source, trouble)
    return families.text()


class _Families(Collector):
    """Families by name."""

    def __init__(self, own: Iterable[Metric]) -> None:
        self._families = {metric.name: metric for metric in own}
        self._comments: list[str] = []

    def collect(self) -> Iterable[Metric]:
        """What is there."""
        return self._families.values()

    def add_text(self, reading: Reading) -> str:
        """Add a replica's text whole, or say why it cannot be read."""
        try:
            parsed = list(text_string_to_metric_families(reading.text))
        except (ValueError, KeyError, IndexError) as error:
            return f"its figures cannot be read: {error!r}"
        for metric in parsed:
            self._add(metric, reading.source)
        return ""

    def comment(self, source: Source, sentence: str) -> None:
        """Say something about a replica's figures."""
        line = f"{source.model} {source.replica}: {sentence}".encode("unicode_escape").decode("ascii")
        self._comments.append(f"# {line}\n")

    def text(self) -> bytes:
        """The text format."""
        return generate_latest(self) + "".join(self._comments).encode()

    def _add(self, metric: Metric, source: Source) -> None:
        known = self._families.get(metric.name)
        if known is None:
            known = self._families[metric.name] = Metric(metric.name, metric.documentation, metric.type)
        if known.type != metric.type:
            self.comment(source, f"{metric.name} left out: it is a {metric.type} here and a {known.type} elsewhere")
            return
        known.samples.extend(_labelled(sample, source) for sample in metric.samples)


def _labelled(sample: Sample, source: Source) -> Sample:
    ours = {"model": source.model, "replica": source.replica}
    theirs = {f"exported_{name}" if name in ours else name: value for name, value in sample.labels.items()}
    return sample._replace(labels={**theirs, **ours})

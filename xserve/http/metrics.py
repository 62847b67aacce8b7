"""The figures of the traffic as Prometheus families, made when somebody scrapes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from xserve.http.meter import Histogram
from xserve.http.traffic import Target, Traffic


class TrafficCollector(Collector):
    """Register one of these with the registry that `/metrics` renders."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        """Requests by outcome, requests in flight, time to the first byte and duration, per model."""
        targets = self._traffic.targets()
        yield _requests(targets)
        yield _in_flight(targets)
        first = "Seconds until the engine began to answer."
        yield _histogram("xserve_first_byte_seconds", first, {t.uid: t.meter.first_byte for t in targets})
        whole = "Seconds until the request had ended."
        yield _histogram("xserve_request_seconds", whole, {t.uid: t.meter.duration for t in targets})


def _requests(targets: list[Target]) -> Metric:
    help_text = 'Requests by class of status; "gone": the client left.'
    family = CounterMetricFamily("xserve_requests", help_text, labels=["model", "outcome"])
    for target in targets:
        for outcome, count in target.meter.requests.items():
            family.add_metric([target.uid, outcome], count)
    return family


def _in_flight(targets: list[Target]) -> Metric:
    family = GaugeMetricFamily("xserve_requests_in_flight", "Requests being served.", labels=["model"])
    for target in targets:
        family.add_metric([target.uid], sum(replica.in_flight for replica in target.replicas))
    return family


def _histogram(name: str, help_text: str, histograms: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=["model"])
    for uid, histogram in histograms.items():
        family.add_metric([uid], histogram.cumulative(), histogram.sum)
    return family

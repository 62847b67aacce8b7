"""Our own figures for `/metrics` that are derived from the status when somebody scrapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from xserve.core.views import ModelView, ProblemView, StatusView
from xserve.http.control import Control


def new_registry() -> CollectorRegistry:
    """A registry with the figures of the daemon's process: memory, processor time, descriptors."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    return registry


class StatusCollector(Collector):
    """Register one of these with the registry that `/metrics` renders."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def collect(self) -> Iterator[Metric]:
        """Build, up-time, models by state, replicas by state, failures, rejected files."""
        status = self._control.status()
        yield from _daemon(status)
        yield _models(status.models)
        yield _replicas(status.models)
        yield _failures(status.models)
        yield _failed(status.models)
        yield _rejected(status.problems)


def _daemon(status: StatusView) -> Iterator[Metric]:
    yield InfoMetricFamily("xserve_build", "What runs here.", value={"version": status.version})
    yield GaugeMetricFamily("xserve_uptime_seconds", "Since the daemon was started.", value=status.uptime)
    yield CounterMetricFamily("xserve_passes", "Comparisons of what is wanted with what there is.", value=status.passes)
    yield GaugeMetricFamily("xserve_settled", "1: everything is as wanted.", value=status.settled)
    yield GaugeMetricFamily("xserve_registrations", "Definitions in force.", value=status.registrations)


def _models(models: list[ModelView]) -> Metric:
    family = GaugeMetricFamily("xserve_models", "Deployments by state.", labels=["state"])
    for state, count in sorted(Counter(model.state for model in models).items()):
        family.add_metric([state], count)
    return family


def _replicas(models: list[ModelView]) -> Metric:
    family = GaugeMetricFamily("xserve_replicas", "Replicas by state.", labels=["model", "state"])
    for model in models:
        for state, count in sorted(Counter(each.state for each in model.instances).items()):
            family.add_metric([model.uid, state], count)
    return family


def _failures(models: list[ModelView]) -> Metric:
    family = GaugeMetricFamily("xserve_failures_in_a_row", "Of the wanted revision.", labels=["model"])
    for model in models:
        family.add_metric([model.uid], model.failure.failures if model.failure else 0)
    return family


def _failed(models: list[ModelView]) -> Metric:
    family = CounterMetricFamily("xserve_failures", "Replicas that ended by themselves.", labels=["model"])
    for model in models:
        family.add_metric([model.uid], model.failures)
    return family


def _rejected(problems: list[ProblemView]) -> Metric:
    rejected = {problem.path for problem in problems if problem.severity == "error"}
    return GaugeMetricFamily("xserve_files_rejected", "Files with errors at present.", value=len(rejected))

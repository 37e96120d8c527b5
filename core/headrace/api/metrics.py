"""The counters as Prometheus has them: ``headrace_sink_success_total{name="my_sink"}``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from headrace.engine import Pipeline

__all__ = ["CONTENT_TYPE_LATEST", "exposition"]

GAUGES = frozenset({"queuing", "inflight", "queuing_bytes", "pending", "connections", "queuing_age"})


def exposition(pipeline: Pipeline) -> bytes:
    """All counters of this moment, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(pipeline))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        document = self._pipeline.snapshot()
        families: dict[str, Metric] = {}
        for kind in ("sources", "connectors", "rules", "sinks"):
            one = kind[:-1]
            for name, part in document[kind].items():
                values = {"up": int(part["state"] == "running"), **part["counters"]}
                for counter, value in values.items():
                    _add(families, f"headrace_{one}_{re.sub(r'[^a-zA-Z0-9]', '_', counter)}", counter, name, value)
                for histogram, values in part.get("histograms", {}).items():
                    metric = f"headrace_{one}_{histogram}_seconds"
                    family = families.setdefault(
                        metric, HistogramMetricFamily(metric, f"{histogram}, by name", labels=["name"])
                    )
                    family.add_metric([name], values["buckets"], values["sum"])  # type: ignore[attr-defined]  # as below
        yield from families.values()


def _add(families: dict[str, Metric], metric: str, counter: str, name: str, value: float) -> None:
    family = families.get(metric)
    if family is None:
        gauge = counter in GAUGES or counter == "up"
        family = (GaugeMetricFamily if gauge else CounterMetricFamily)(metric, f"{counter}, by name", labels=["name"])
        families[metric] = family
    family.add_metric([name], value)  # type: ignore[attr-defined]  # both families have it, their base does not

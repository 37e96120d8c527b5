"""The counters as Prometheus has them: ``headrace_sink_success_total{name="my_sink"}``.

Labels are names of the configuration only, so that there are as many series as parts, whatever devices send.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

import headrace
from headrace.engine import Pipeline
from headrace.engine.meanings import meanings

__all__ = ["CONTENT_TYPE_LATEST", "exposition"]


def exposition(pipeline: Pipeline) -> bytes:
    """All counters of this moment, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(pipeline))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        document = self._pipeline.snapshot()
        families: dict[str, Metric] = {}
        gauges = {"up", *self._pipeline.parts.gauges()}
        texts = meanings(self._pipeline.spec)
        for kind in ("sources", "connectors", "rules", "sinks"):
            one = kind[:-1]
            for name, part in document[kind].items():
                for counter, value in {"up": int(part["state"] == "running"), **part["counters"]}.items():
                    text = texts[kind].get(counter, "")
                    _add(families, f"headrace_{one}_{counter}", name, value, text, gauge=counter in gauges)
                for histogram, values in part.get("histograms", {}).items():
                    metric = f"headrace_{one}_{histogram}_seconds"
                    family = families.setdefault(
                        metric,
                        HistogramMetricFamily(metric, _help(texts[kind].get(histogram, histogram)), labels=["name"]),
                    )
                    family.add_metric([name], values["buckets"], values["sum"])  # type: ignore[attr-defined]  # as below
        _stream(families, document["stream"])
        yield from families.values()
        yield from _whole(document)


def _stream(families: dict[str, Metric], stream: Mapping[str, Any]) -> None:
    for name, topic in stream["topics"].items():
        for what in ("unsettled", "bytes"):
            _add(families, f"headrace_stream_{what}", name, topic[what], gauge=True)
        _add(families, "headrace_stream_corrupt", name, topic["corrupt"])
    for name, orphan in stream["orphans"].items():
        _add(families, "headrace_orphan_events", name, orphan["events"], gauge=True)


def _whole(document: Mapping[str, Any]) -> Iterator[Metric]:
    """What there is one of."""
    build = GaugeMetricFamily(
        "headrace_build_info", "1, with what runs as labels", labels=["version", "python", "name"]
    )
    build.add_metric([headrace.__version__, platform.python_version(), document["name"]], 1)
    yield build
    yield GaugeMetricFamily("headrace_up", "1 while events flow", value=int(document["state"] == "running"))
    config = document["config"]
    yield GaugeMetricFamily("headrace_config_generation", "of the configuration that runs", value=config["generation"])
    yield GaugeMetricFamily(
        "headrace_config_ok", "0 if the one read last was not applied", value=int(config["error"] is None)
    )
    for name, value in document["stream"]["dead_letters"].items():
        family = GaugeMetricFamily if name.startswith("held") else CounterMetricFamily
        yield family(f"headrace_dead_letters_{name}", f"dead letters {name}", value=value)


def _add(
    families: dict[str, Metric], metric: str, name: str, value: float, text: str = "", *, gauge: bool = False
) -> None:
    text = _help(text or metric.split("_", 2)[2])
    metric = re.sub(r"[^a-zA-Z0-9_]", "_", metric)
    family = families.get(metric)
    if family is None:
        family = (GaugeMetricFamily if gauge else CounterMetricFamily)(metric, text, labels=["name"])
        families[metric] = family
    family.add_metric([name], value)  # type: ignore[attr-defined]  # both families have it, their base does not


def _help(text: str) -> str:
    return f"{text}, by name"

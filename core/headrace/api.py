"""The HTTP endpoint for machines: health, readiness, metrics, status. No logic of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from headrace.engine import Pipeline
from headrace.events import json_bytes

__all__ = ["serve"]

PIPELINE = web.AppKey("pipeline", Pipeline)
GAUGES = frozenset({"queuing", "inflight", "queuing_bytes", "pending", "connections", "queuing_age"})
STATES = {"running": 1, "degraded": 0, "connecting": 0, "stopped": 0}


async def serve(pipeline: Pipeline, listen: str) -> web.AppRunner:
    """Start listening on ``host:port``; the caller cleans the runner up. OSError if the address is taken."""
    app = web.Application()
    app[PIPELINE] = pipeline
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz),
            web.get("/metrics", _metrics),
            web.get("/api/v1/status", _status),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    return runner


async def _healthz(_request: web.Request) -> web.Response:
    """The process runs and its loop turns."""
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    """200 when events flow; 503 with the one sentence why they do not."""
    state, reason = request.app[PIPELINE].state()
    return web.Response(status=200 if state == "running" else 503, text=f"{reason or state}\n")


async def _status(request: web.Request) -> web.Response:
    return web.Response(body=json_bytes(request.app[PIPELINE].snapshot()), content_type="application/json")


async def _metrics(request: web.Request) -> web.Response:
    registry = CollectorRegistry()
    registry.register(_Snapshot(request.app[PIPELINE]))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Snapshot(Collector):
    """The counters as Prometheus has them: ``headrace_sink_success_total{name="my_sink"}``."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        document = self._pipeline.snapshot()
        families: dict[str, Metric] = {}
        for kind in ("sources", "connectors", "rules", "sinks"):
            one = kind[:-1]
            for name, part in document[kind].items():
                values = {"up": STATES[part["state"]], **part["counters"]}
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

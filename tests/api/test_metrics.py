"""What Prometheus reads, and the dashboard for Grafana that asks for it."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from commands import wait_for
from dashboards import Dashboard, Receiver

GRAFANA = Path(__file__).parents[2] / "docs" / "grafana.json"
OPERATIONS = GRAFANA.with_name("operations.md")
PLANT = """
sources:
  devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}
  hooks: {type: http, listen: "127.0.0.1:0"}
rules: {all: {sql: 'SELECT payload.n AS n FROM "t/#"', to: out}}
sinks: {out: {type: http, url: "SERVER"}}
"""


@pytest.fixture
def plant(run: Callable[[str], Dashboard], receiver: Receiver) -> Dashboard:
    return run(PLANT.replace("SERVER", receiver.url))


def scraped(plant: Dashboard) -> dict[str, Metric]:
    with urllib.request.urlopen(f"{plant.url}metrics", timeout=5) as answer:
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def test_names_labels_and_series_are_those_of_the_configuration(plant: Dashboard) -> None:
    before = scraped(plant)
    for n in range(3):
        plant.publish(f"t/{n}", f'{{"n": {n}}}')
    wait_for(lambda: plant.ask("sinks/out/metrics")["counters"]["success"] == 3)
    families = scraped(plant)
    series = {(sample.name, *sorted(sample.labels.items())) for each in families.values() for sample in each.samples}
    known = {"devices", "hooks", "all", "out", "events", "sink.out"}
    for family in families.values():
        for sample in family.samples:
            if family.name.startswith("headrace_") and family.name != "headrace_build_info":
                assert set(sample.labels) <= {"name", "le"}, sample
                assert sample.labels.get("name", "out") in known, sample
    for n in range(3):
        plant.publish(f"t/new/{n}", f'{{"n": {n}}}')  # other topics make no other series
    wait_for(lambda: plant.ask("sinks/out/metrics")["counters"]["success"] == 6)
    after = scraped(plant)
    assert {(s.name, *sorted(s.labels.items())) for each in after.values() for s in each.samples} == series
    assert before["headrace_up"].samples[0].value == 1
    assert set(before["headrace_build_info"].samples[0].labels) == {"version", "python", "name"}


def test_the_help_of_a_metric_is_what_the_dashboard_says(plant: Dashboard) -> None:
    families, texts = scraped(plant), plant.ask("counters")
    for metric, kind, counter in (
        ("headrace_sink_success", "sinks", "success"),
        ("headrace_sink_queuing_bytes", "sinks", "queuing_bytes"),
        ("headrace_connector_connections", "connectors", "connections"),
        ("headrace_sink_end_to_end_seconds", "sinks", "end_to_end"),
    ):
        assert families[metric].documentation == f"{texts[kind][counter]}, by name"


def test_counters_gauges_and_histograms_are_what_they_are(plant: Dashboard) -> None:
    plant.publish("t/1", '{"n": 1}')
    wait_for(lambda: plant.ask("sinks/out/metrics")["counters"]["success"] == 1)
    families = scraped(plant)
    types = {name: family.type for name, family in families.items()}
    assert types["headrace_sink_success"] == types["headrace_source_received"] == "counter"
    for gauge in ("sink_queuing", "sink_queuing_age", "source_pending", "source_requests_now", "stream_unsettled"):
        assert types[f"headrace_{gauge}"] == "gauge", gauge
    latency = families["headrace_sink_latency_seconds"]
    assert latency.type == "histogram"
    values = {(sample.name, sample.labels.get("le")): sample.value for sample in latency.samples}
    assert values["headrace_sink_latency_seconds_bucket", "+Inf"] == 1
    assert values["headrace_sink_latency_seconds_count", None] == 1
    buckets = [sample.value for sample in latency.samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets)


def test_the_dashboard_for_grafana_asks_for_what_is_there(plant: Dashboard) -> None:
    board = json.loads(GRAFANA.read_text())
    shown = {sample.name for family in scraped(plant).values() for sample in family.samples}
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    names = {name for expression in asked for name in re.findall(r"\b(?:headrace|process)_\w+", expression)}
    assert len(names) > 15
    assert names - shown == set()
    assert all(target["legendFormat"] for panel in board["panels"] for target in panel["targets"])


def test_the_rules_for_alerts_ask_for_what_there_is(plant: Dashboard) -> None:
    asked = set(re.findall(r"\bheadrace_[a-z_]+", OPERATIONS.read_text()))
    assert len(asked) > 5
    assert asked <= {sample.name for family in scraped(plant).values() for sample in family.samples}

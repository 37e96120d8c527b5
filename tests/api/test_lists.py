"""Lists over HTTP: their pages, and what of them is chosen."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from dashboards import Dashboard

PLANT = """
sources:
  devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}
  ticks: {type: generate, rate: 1, count: 1, topic: tick}
  spare: {type: generate, rate: 1, count: 1, topic: tick, enable: false}
connectors:
  server: {type: http, url: "http://127.0.0.1:9"}
  other: {type: http, url: "http://127.0.0.1:9", enable: false}
rules:
  hot: {sql: 'SELECT * FROM "plant/+/temp"', to: alarm}
  Hottest: {sql: 'SELECT * FROM "plant/1/temp", "hall/#"', to: [alarm, log], sources: [devices]}
  came: {sql: 'SELECT * FROM "$events/client/connected"', to: log, enable: false}
  tick: {sql: 'SELECT * FROM "tick"', to: log, sources: [ticks]}
sinks:
  alarm: {type: http, connector: server}
  log: {type: console}
  late: {type: console, enable: false}
"""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("plant"), PLANT)
    yield running
    running.stop()


def names(plant: Dashboard, kind: str, **query: Any) -> list[str]:
    found = plant.ask(f"{kind}?{urlencode(query, doseq=True)}")
    return [each["name"] for each in found]


def test_a_list_is_told_whole_or_page_by_page(plant: Dashboard) -> None:
    everything = plant.ask("rules")
    assert [each["name"] for each in everything] == ["hot", "Hottest", "came", "tick"]
    seen: list[Any] = []
    address = f"{plant.url}api/v1/rules?limit=3"
    while address:
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert answer.headers["X-Total-Count"] == "4"
            link = answer.headers.get("Link")
            found = plant.ask(address.removeprefix(f"{plant.url}api/v1/"))
        assert len(found) == (3 if link else 1)
        seen += found
        address = f"{plant.url}api/v1/rules{link[1:].partition('>')[0]}" if link else ""
    assert seen == everything
    assert names(plant, "rules", page=2, limit=1) == ["Hottest"]
    assert names(plant, "rules", page=9) == []
    assert names(plant, "sinks", page=1) == ["alarm", "log", "late"]


@pytest.mark.parametrize(
    ("kind", "query", "found"),
    [
        ("rules", {"enable": "true"}, ["hot", "Hottest", "tick"]),
        ("rules", {"like_id": "HOT"}, ["hot", "Hottest"]),
        ("rules", {"like_id": "hot", "action": "log"}, ["Hottest"]),
        ("rules", {"action": ["alarm", "nothing"]}, ["hot", "Hottest"]),
        ("rules", {"source": "ticks"}, ["hot", "came", "tick"]),
        ("rules", {"from": "plant/1/temp"}, ["Hottest"]),
        ("rules", {"like_from": "plant"}, ["hot", "Hottest"]),
        ("rules", {"match_from": "plant/1/temp"}, ["hot", "Hottest"]),
        ("rules", {"match_from": "hall/+"}, ["Hottest"]),
        ("rules", {"match_from": "plant/#", "from": "hall/#"}, ["Hottest"]),
        ("rules", {"match_from": "$events/client/#"}, ["came"]),
        ("rules", {"enable": "true", "limit": 2, "page": 2}, ["tick"]),
        ("sources", {"enable": "false"}, ["spare"]),
        ("sources", {"type": "generate", "like_id": "t"}, ["ticks"]),
        ("connectors", {"enable": "true"}, ["server"]),
        ("sinks", {"connector": "server"}, ["alarm"]),
        ("sinks", {"type": "console", "enable": "false"}, ["late"]),
    ],
)
def test_parts_are_chosen_by_every_condition(
    plant: Dashboard, kind: str, query: dict[str, Any], found: list[str]
) -> None:
    assert names(plant, kind, **query) == found


@pytest.mark.parametrize(
    ("address", "path", "told"),
    [
        ("sinks?page=0", "page", "from 1 to 1000000"),
        ("rules?page=-1", "page", "from 1 to"),
        ("rules?page=1.5", "page", "from 1 to"),
        ("rules?page=", "page", "from 1 to"),
        (f"rules?page={'9' * 5000}", "page", "from 1 to"),
        ("connectors?limit=1001", "limit", "from 1 to 1000"),
        ("sources?limit=x", "limit", "from 1 to 1000"),
        ("rules?limit=1&limit=2", "limit", "once"),
        ("rules?enable=yes", "enable", "true or false"),
        ("rules?match_from=a/%23/b", "match_from", "'#'"),
        ("rules?name=hot", "name", "like_id"),
        ("sinks?from=a", "from", "connector"),
        ("dead_letters?limit=0", "limit", "from 1 to 1000"),
        ("sinks/log/deliveries?limit=201", "limit", "from 1 to 200"),
        ("sinks/log/deliveries?failures=1", "failures", "true or false"),
        ("tap?node=rule:hot&sample=0", "sample", "from 1 to 1000000"),
    ],
)
def test_a_wrong_question_is_refused_with_its_place(plant: Dashboard, address: str, path: str, told: str) -> None:
    status, refused = plant.call("GET", address)
    assert (status, refused["code"], refused["path"]) == (400, "BAD_REQUEST", path)
    assert refused["message"].startswith(f"{path}: ")
    assert told in refused["message"]


def test_a_flag_that_is_none_changes_nothing(plant: Dashboard) -> None:
    before = plant.ask("config")["generation"]
    assert plant.call("POST", "config/reload?dry_run=1")[1]["path"] == "dry_run"
    assert plant.call("DELETE", "sinks/late?also_delete_dep_actions=1")[1]["path"] == "also_delete_dep_actions"
    assert plant.ask("config")["generation"] == before
    assert plant.call("GET", "sinks/late")[0] == 200


def test_the_description_has_the_parameters_of_each_list(plant: Dashboard) -> None:
    paths = plant.ask("openapi.json")["paths"]

    def described(path: str) -> dict[str, Any]:
        return {each["name"]: each["schema"] for each in paths[f"/api/v1/{path}"]["get"]["parameters"]}

    assert described("rules")["page"] == {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    assert {"enable", "like_id", "from", "like_from", "match_from", "action", "source"} <= set(described("rules"))
    assert "from" not in described("sinks")
    assert described("dead_letters")["limit"]["default"] == 100
    assert "X-Total-Count" in paths["/api/v1/rules"]["get"]["responses"]["200"]["headers"]

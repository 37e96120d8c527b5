"""Parts created, changed and removed over HTTP: the running pipeline and its file change together, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard, Receiver
from headrace.testing import check_conservation

PLANT = """
# where it comes from
sources:
  devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}   # direct
  ticks: {type: generate, rate: 1, count: 1}
connectors:
  # the server of the plant
  server:
    type: http
    url: http://ada:hunter2@127.0.0.1:9/in   # not there
    headers:
      X-Api-Key: s3cret   # of ada
      X-Plant: ${env:PLANT:-one}     # which
rules:
  hot: {sql: 'SELECT payload.temp AS temp FROM "plant/#" WHERE payload.temp > 30', to: alarm}   # too hot
  some: {sql: 'SELECT * FROM "some"', to: alarm, sources: [devices]}
sinks:
  alarm: {type: http, connector: server}
  spare: {type: console}
# the end
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("plant"), PLANT)
    yield running
    running.stop()


@pytest.fixture
def plant(running: Dashboard) -> Iterator[Dashboard]:
    """One that is the same for every test."""
    before = running.config.read_text()
    yield running
    if running.config.read_text() != before:
        running.config.write_text(before)
        assert running.call("POST", "config/reload")[0] == 200


NEW: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sources": ({"type": "generate", "rate": 2}, {"type": "generate", "rate": 3}),
    "connectors": (
        {"type": "http", "url": "http://127.0.0.1:9"},
        {"type": "http", "url": "http://127.0.0.1:9", "pool_size": 2},
    ),
    "rules": ({"sql": 'SELECT 1 AS x FROM "new"', "to": "alarm"}, {"sql": 'SELECT 2 AS x FROM "new"', "to": "spare"}),
    "sinks": ({"type": "console"}, {"type": "console", "enable": False}),
}


@pytest.mark.parametrize("kind", NEW)
def test_a_part_of_each_kind_from_its_making_to_its_end(plant: Dashboard, kind: str) -> None:
    before = plant.config.read_text()
    first, second = NEW[kind]
    status, made = plant.call("POST", kind, {"name": "fresh", **first})
    assert (status, made["name"], made["changed"]) == (201, "fresh", {kind: {"added": ["fresh"]}})
    shown = plant.call("GET", f"{kind}/fresh")[1]
    assert shown["name"] == "fresh"
    assert plant.ask("status")[kind]["fresh"]["state"] in ("connecting", "running", "degraded")
    status, again = plant.call("POST", kind, {"name": "fresh", **first})
    assert (status, again["code"], again["path"]) == (400, "ALREADY_EXISTS", "name")

    status, changed = plant.call("PUT", f"{kind}/fresh", second)
    assert (status, changed["changed"]) == (200, {kind: {"changed": ["fresh"]}})
    assert plant.call("GET", f"{kind}/fresh")[1] != shown
    assert plant.call("PUT", f"{kind}/fresh/enable/false")[0] == 200
    assert plant.ask("status")[kind]["fresh"]["state"] == "disabled"
    assert plant.call("PUT", f"{kind}/fresh/enable/true")[0] == 200
    assert plant.ask("status")[kind]["fresh"]["state"] != "disabled"

    status, gone = plant.call("DELETE", f"{kind}/fresh")
    assert (status, gone["changed"]) == (200, {kind: {"removed": ["fresh"]}})
    assert plant.call("GET", f"{kind}/fresh")[0] == 404
    assert plant.config.read_text() == before


@pytest.mark.parametrize("kind", NEW)
def test_a_part_is_started_anew(plant: Dashboard, kind: str) -> None:
    name = {"sources": "devices", "connectors": "server", "rules": "hot", "sinks": "spare"}[kind]
    since = plant.ask("status")[kind][name]["since"]
    status, refused = plant.call("POST", f"{kind}/{name}/start")
    if kind == "rules":
        assert (status, refused["message"]) == (400, "a rule has no connection to start")
        return
    assert status == 204
    assert plant.ask("status")[kind][name]["since"] > since
    assert plant.call("PUT", f"{kind}/{name}/enable/false")[0] == 200
    status, refused = plant.call("POST", f"{kind}/{name}/start")
    assert (status, refused["message"]) == (400, f"{kind[:-1]} {name} is disabled")


def test_comments_order_and_placeholders_stay(plant: Dashboard) -> None:
    before = plant.config.read_text().splitlines()
    shown = plant.call("GET", "connectors/server")[1]
    status, _ = plant.call("PUT", "connectors/server", {**shown, "pool_size": 3})
    assert status == 200
    after = plant.config.read_text().splitlines()
    assert [line for line in after if line not in before] == ["    pool_size: 3"]
    assert [line for line in before if line not in after] == []


def test_an_option_that_is_switched_and_back_leaves_the_file_as_it_was(plant: Dashboard) -> None:
    before = plant.config.read_text()
    for kind, name in (("sources", "devices"), ("connectors", "server"), ("rules", "hot"), ("sinks", "alarm")):
        assert plant.call("PUT", f"{kind}/{name}/enable/false")[0] == 200
        assert plant.config.read_text() != before
        assert plant.call("PUT", f"{kind}/{name}/enable/true")[0] == 200
        assert plant.config.read_text().split() == before.split()


def test_stars_that_come_back_keep_what_is_stored(plant: Dashboard) -> None:
    shown = plant.call("GET", "connectors/server")[1]
    assert shown["headers"]["X-Api-Key"] == "******"
    assert shown["url"] == "http://ada:*******@127.0.0.1:9/in"
    assert shown["headers"]["X-Plant"] == "${env:PLANT:-one}"
    changed = {**shown, "headers": {**shown["headers"], "X-More": "1"}}
    assert plant.call("PUT", "connectors/server", changed)[0] == 200
    text = plant.config.read_text()
    assert "X-Api-Key: s3cret   # of ada" in text
    assert "http://ada:hunter2@127.0.0.1:9/in   # not there" in text
    assert "******" not in text
    moved = {**shown, "url": shown["url"].replace(":9", ":10")}
    status, refused = plant.call("PUT", "connectors/server", moved)
    assert (status, refused["code"]) == (400, "BAD_REQUEST")  # a password does not go where it was not meant to go
    fresh = {"name": "fresh", "type": "http", "url": "http://127.0.0.1:9", "headers": {"X-Api-Key": "******"}}
    status, refused = plant.call("POST", "connectors", fresh)
    assert (status, refused["code"]) == (400, "BAD_REQUEST")
    assert "s3cret" not in "".join(plant.log)


@pytest.mark.parametrize(
    ("part", "users"),
    [
        ("connectors/server", ["sink alarm"]),
        ("sinks/alarm", ["rule hot", "rule some"]),
        ("sources/devices", ["rule some"]),
    ],
)
def test_what_is_in_use_stays_and_its_users_are_named(plant: Dashboard, part: str, users: list[str]) -> None:
    before = plant.config.read_text()
    status, refused = plant.call("DELETE", part)
    assert (status, refused["code"], refused["used_by"]) == (400, "IN_USE", users)
    assert all(user in refused["message"] for user in users)
    assert plant.config.read_text() == before
    assert plant.call("GET", part)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("PUT", "rules/hot", {"sql": "SELECT FROM", "to": "alarm"}, "rules.hot.sql"),
        ("PUT", "rules/hot", {"sql": 'SELECT * FROM "t"', "to": "nobody"}, "nobody"),
        ("PUT", "sinks/alarm", {"type": "http", "conector": "server"}, "conector"),
        ("PUT", "sinks/alarm", {"type": "http", "connector": "server", "ttl": "soon"}, "ttl"),
        ("POST", "sinks", {"name": "a b", "type": "console"}, "a b"),
        ("POST", "sinks", {"name": "fresh", "type": "nothing"}, "nothing"),
        ("POST", "sinks", {"name": "fresh", "type": "http", "connector": "none"}, "none"),
        ("POST", "sinks", {"type": "console"}, "name"),
        ("POST", "sinks", [], "object"),
        ("PUT", "sinks/nobody", {"type": "console"}, "nobody"),
        ("DELETE", "rules/nobody", None, "nobody"),
    ],
)
def test_a_wrong_change_changes_nothing(plant: Dashboard, method: str, path: str, body: Any, told: str) -> None:
    text, generation = plant.config.read_text(), plant.ask("status")["config"]["generation"]
    status, refused = plant.call(method, path, body)
    assert status == (404 if "nobody" in path else 400)
    assert told in refused["message"]
    assert plant.config.read_text() == text
    assert plant.ask("status")["config"] | {"since": 0} == {
        "generation": generation, "since": 0, "error": None, "error_at": None,
    }  # fmt: skip


def test_counters_are_told_and_begin_anew_while_events_wait(plant: Dashboard, receiver: Receiver) -> None:
    for n in range(5):
        plant.publish("plant/1", f'{{"temp": {40 + n}}}')  # nobody listens at the sink's address: they wait
    wait_for(lambda: plant.ask("rules/hot/metrics")["counters"]["passed"] == 5)
    waiting = plant.ask("sinks/alarm/metrics")["counters"]
    assert waiting["matched"] == waiting["queuing"] + waiting["inflight"] == 5
    for part in ("sinks/alarm", "rules/hot", "sources/devices", "connectors/server"):
        assert plant.call("PUT", f"{part}/metrics/reset")[0] == 204
    status = plant.ask("status")
    check_conservation(status)
    assert status["rules"]["hot"]["counters"]["matched"] == 0
    counters = status["sinks"]["alarm"]["counters"]
    assert (counters["matched"], counters["recovered"]) == (0, 5)

    shown = plant.call("GET", "connectors/server")[1]
    assert plant.call("PUT", "connectors/server", {**shown, "url": receiver.url})[0] == 200
    wait_for(lambda: plant.ask("sinks/alarm/metrics")["counters"]["success"] == 5)
    plant.publish("plant/1", '{"temp": 50}')
    wait_for(lambda: plant.ask("sinks/alarm/metrics")["counters"]["success"] == 6)
    status = plant.ask("status")
    check_conservation(status)
    assert status["rules"]["hot"]["counters"]["matched"] == 1
    assert [body for _, body in receiver.got] == [f'{{"temp":{n}}}' for n in (40, 41, 42, 43, 44, 50)]

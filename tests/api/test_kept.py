"""Dead letters, the delivery log and orphans over HTTP."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard, Receiver
from headrace.testing import check_conservation

PLANT = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
rules:
  one: {sql: 'SELECT payload.n AS n FROM "one"', to: out}
  two: {sql: 'SELECT payload.n AS n FROM "two"', to: out}
sinks:
  out: {type: http, url: "SERVER", headers: {X-Api-Key: s3cret}}
"""


@pytest.fixture
def plant(run: Callable[..., Dashboard], receiver: Receiver) -> Dashboard:
    """A plant with five dead letters: 0, 1, 2 of rule one, 3, 4 of rule two."""
    receiver.status = 400
    running = run(PLANT.replace("SERVER", receiver.url))
    for topic, n in (("one", 0), ("one", 1), ("one", 2), ("two", 3), ("two", 4)):
        running.publish(topic, f'{{"n": {n}}}')
        wait_for(lambda n=n: len(running.ask("dead_letters")) > n)
    return running


def numbers(letters: list[Any]) -> list[int]:
    return [letter["event"]["n"] for letter in letters]


def test_dead_letters_are_listed_by_choice_and_shown(plant: Dashboard) -> None:
    assert numbers(plant.ask("dead_letters")) == [0, 1, 2, 3, 4]
    assert numbers(plant.ask("dead_letters?rule=two&limit=1")) == [3]
    assert numbers(plant.ask("dead_letters?since=1h&sink=out&reason=400")) == [0, 1, 2, 3, 4]
    assert plant.ask("dead_letters?sink=other") == []
    assert [numbers(plant.ask(f"dead_letters?limit=2&page={page}")) for page in (1, 2, 3, 4)] == [
        [0, 1],
        [2, 3],
        [4],
        [],
    ]
    with urllib.request.urlopen(f"{plant.url}api/v1/dead_letters?limit=1&rule=two", timeout=5) as answer:
        assert answer.headers["Link"] == '<?limit=1&rule=two&page=2>; rel="next"'
    with urllib.request.urlopen(f"{plant.url}api/v1/dead_letters?limit=1&rule=two&page=2", timeout=5) as answer:
        assert answer.headers["Link"] is None
    for query in ("limit=0", "limit=1001", "limit=x", "since=soon", "who=me"):
        assert plant.call("GET", f"dead_letters?{query}")[0] == 400, query
    letter = plant.ask("dead_letters")[1]
    found = plant.ask(f"dead_letters/{letter['offset']}")
    assert {key: found[key] for key in letter} == letter
    assert found["render"]["body"] == '{"n":1}'
    assert "s3cret" not in str(found)
    assert plant.call("GET", "dead_letters/99999")[0] == 404


def test_to_look_at_a_dead_letter_opens_nothing(plant: Dashboard) -> None:
    file = plant.config.parent / "elsewhere" / "out.jsonl"
    number = plant.ask("dead_letters")[0]["offset"]
    assert plant.call("PUT", "sinks/out", {"type": "file", "path": str(file)})[0] == 200
    wait_for(file.exists)
    shutil.rmtree(file.parent)
    assert plant.ask(f"dead_letters/{number}")["render"] == {"line": '{"n":0}'}
    assert not file.parent.exists()


def test_dead_letters_are_replayed(plant: Dashboard, receiver: Receiver) -> None:
    receiver.status = 200
    sent = len(receiver.got)
    assert plant.call("POST", "dead_letters/replay", {"rule": "two"}) == (200, {"replayed": 2, "failed": {}})
    wait_for(lambda: [body for _, body in receiver.got[sent:]] == ['{"n":3}', '{"n":4}'])
    assert numbers(plant.ask("dead_letters")) == [0, 1, 2]
    one = plant.ask("dead_letters")[1]["event_id"]
    assert plant.call("POST", "dead_letters/replay", {"id": one})[1]["replayed"] == 1
    wait_for(lambda: receiver.got[-1][1] == '{"n":1}')
    status = plant.ask("status")
    check_conservation(status)
    assert status["sinks"]["out"]["counters"]["replayed"] == 3
    assert status["stream"]["dead_letters"]["held"] == 2


def test_a_dead_letter_is_replayed_with_other_columns(plant: Dashboard, receiver: Receiver) -> None:
    receiver.status = 200
    number = plant.ask("dead_letters")[1]["offset"]
    assert plant.call("POST", f"dead_letters/{number}/replay", {"event": 5})[0] == 400
    assert plant.call("POST", "dead_letters/99999/replay", {})[0] == 404
    assert plant.call("POST", f"dead_letters/{number}/replay", {"event": {"n": 11}})[1]["replayed"] == 1
    wait_for(lambda: receiver.got[-1][1] == '{"n":11}')
    assert numbers(plant.ask("dead_letters")) == [0, 2, 3, 4]
    first = plant.ask("dead_letters")[0]["offset"]
    assert plant.call("POST", f"dead_letters/{first}/replay", {})[1]["replayed"] == 1
    wait_for(lambda: receiver.got[-1][1] == '{"n":0}')


def test_dead_letters_are_purged_by_a_clear_choice(plant: Dashboard) -> None:
    for unclear in ({"rull": "two"}, {"limit": 1}, ["two"], None):
        assert plant.call("POST", "dead_letters/purge", unclear)[0] == 400
    assert plant.call("POST", "dead_letters/purge", {"since": 0}) == (200, {"purged": 0})
    assert plant.call("POST", "dead_letters/purge", {"rule": "two"}) == (200, {"purged": 2})
    assert numbers(plant.ask("dead_letters")) == [0, 1, 2]
    assert plant.call("POST", "dead_letters/purge", {}) == (200, {"purged": 3})
    assert plant.ask("dead_letters") == []


def test_the_last_deliveries_of_a_sink_are_told(plant: Dashboard, receiver: Receiver) -> None:
    receiver.status = 204
    plant.publish("one", '{"n": 5}')
    wait_for(lambda: plant.ask("sinks/out/metrics")["counters"]["success"] == 1)
    found = plant.ask("sinks/out/deliveries")
    assert [(each["outcome"], each["status"]) for each in found] == [("4xx", 400)] * 5 + [("delivered", 204)]
    assert len(plant.ask("sinks/out/deliveries?failures=true")) == 5
    assert plant.ask("sinks/out/deliveries?limit=1") == found[-1:]
    assert plant.ask("sinks/out/deliveries?limit=4&page=2") == found[:2]
    assert plant.ask("sinks/out/deliveries?status=204") == found[-1:]
    assert plant.ask(f"sinks/out/deliveries?event={found[2]['event']}") == found[2:3]
    assert plant.call("GET", "sinks/nobody/deliveries")[0] == 404


def test_what_a_removed_sink_leaves_is_an_orphan_until_it_is_purged(plant: Dashboard, receiver: Receiver) -> None:
    receiver.status = 503  # it waits
    plant.publish("one", '{"n": 5}')
    wait_for(lambda: plant.ask("sinks/out/metrics")["counters"]["matched"] == 6)
    assert plant.ask("orphans") == {}
    assert plant.call("POST", "sinks", {"name": "other", "type": "console"})[0] == 201
    for rule in ("one", "two"):
        assert plant.call("PUT", f"rules/{rule}", {"sql": f'SELECT * FROM "{rule}"', "to": "other"})[0] == 200
    assert plant.call("DELETE", "sinks/out")[0] == 200
    assert plant.ask("orphans")["sink.out"]["events"] == 1
    assert plant.call("DELETE", "orphans/sink.other")[0] == 404  # nobody's backlog but an orphan's
    assert plant.call("DELETE", "orphans/sink.out")[0] == 204
    assert plant.ask("orphans") == {}


def test_errors_are_told_by_reason_until_the_counters_are_reset(plant: Dashboard) -> None:
    (found,) = plant.ask("status")["sinks"]["out"]["errors"]
    assert (found["count"], found["status"], found["said"]) == (5, 400, "too warm for us")
    assert found["first"] <= found["last"]
    alone = plant.ask("sinks/out/status")
    assert alone["errors"] == [found]
    assert alone["facts"] == {}
    assert plant.call("PUT", "sinks/out/metrics/reset")[0] == 204
    assert plant.ask("sinks/out/status")["errors"] == []
    assert plant.call("GET", "sinks/nobody/status")[0] == 404


def test_rates_of_the_past_are_told_for_charts(plant: Dashboard) -> None:
    for place, counters in (
        ("history", {"received", "matched", "success", "failed"}),
        ("sources/devices/history?span=24h", {"received"}),
        ("rules/one/history?span=1h", {"matched", "passed"}),
        ("sinks/out/history", {"matched", "success", "failed"}),
    ):
        found = plant.ask(place)
        assert found["seconds"] == (300 if "24h" in place else 10)
        assert found["rates"].keys() == counters
    for place, status in (("history?span=1y", 400), ("sinks/nobody/history", 404), ("connectors/out/history", 404)):
        assert plant.call("GET", place)[0] == status

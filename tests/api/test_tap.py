"""Events as they pass, as server-sent events: sampled, filtered, masked, bounded."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from commands import wait_for
from dashboards import Dashboard

PLANT = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}, fast: {type: generate, rate: 1000, devices: 4}}
rules:
  all: {sql: 'SELECT payload.n AS n, payload.token AS token, topic FROM "t/#"', to: out, sources: [devices]}
  quick: {sql: 'SELECT payload.seq AS seq FROM "#"', to: quiet, sources: [fast]}
sinks: {out: {type: console}, quiet: {type: console, enable: false}}
"""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("plant"), PLANT)
    yield running
    running.stop()


class Tap:
    """One that looks: what it was shown, in order."""

    def __init__(self, plant: Dashboard, query: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", plant.port, timeout=5)
        self._connection.request("GET", f"/api/v1/tap?{query}")
        self.answer = self._connection.getresponse()

    def close(self) -> None:
        self._connection.close()
        self.answer.close()

    def messages(self) -> Iterator[tuple[str, Any]]:
        """Name of each message, and what is in it."""
        name, end = "message", time.monotonic() + 20
        while line := self.answer.readline().decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
                assert time.monotonic() < end
            elif field == "data":
                yield name, json.loads(value)
                name = "message"

    def events(self) -> Iterator[dict[str, Any]]:
        return (data for name, data in self.messages() if name == "message")


@contextmanager
def tapped(plant: Dashboard, query: str) -> Iterator[Tap]:
    tap = Tap(plant, query)
    try:
        assert tap.answer.status == 200
        assert next(tap.messages()) == ("passed", 0)  # from here on it sees
        yield tap
    finally:
        tap.close()


def publish(plant: Dashboard, *numbers: int, topic: str = "t/1", more: str = "") -> None:
    for n in numbers:
        plant.publish(topic, f'{{"n": {n}{more}}}')


def test_each_place_shows_what_passes_there(plant: Dashboard) -> None:
    with (
        tapped(plant, "node=source:devices") as source,
        tapped(plant, "node=rule:all") as rule,
        tapped(plant, "node=sink:out") as sink,
    ):
        publish(plant, 7)
        shown = [next(tap.events()) for tap in (source, rule, sink)]
    assert shown[0]["columns"]["payload"] == '{"n": 7}'
    assert [each["columns"].get("n") for each in shown] == [None, 7, 7]
    assert {each["id"] for each in shown} == {shown[0]["id"]}
    assert (shown[2]["source"], shown[2]["rule"]) == ("devices", "all")


def test_one_of_so_many_is_shown(plant: Dashboard) -> None:
    with tapped(plant, "node=rule:all&sample=3") as tap:
        publish(plant, *range(7))
        assert [next(tap.events())["columns"]["n"] for _ in range(3)] == [0, 3, 6]


def test_what_is_not_looked_for_is_not_shown(plant: Dashboard) -> None:
    with (
        tapped(plant, "node=source:devices&topic=t/%2B") as topic,
        tapped(plant, "node=rule:all&text=t/NEEDLE") as text,
    ):
        publish(plant, 1, 2, topic="t/1/2")
        publish(plant, 3, topic="t/needle")
        publish(plant, 4)
        publish(plant, 5, topic="t/needle")
        assert [json.loads(next(topic.events())["columns"]["payload"])["n"] for _ in range(3)] == [3, 4, 5]
        assert [next(text.events())["columns"]["n"] for _ in range(2)] == [3, 5]


def test_a_rare_text_is_found_where_much_passes(plant: Dashboard) -> None:
    """A thousand pass a second, and fifty of them may be shown: it is searched before it is chosen."""
    with tapped(plant, "node=rule:quick") as tap:
        soon = next(tap.events())["columns"]["seq"] + 1000
    with tapped(plant, f"node=rule:quick&text={quote(json.dumps({'seq': soon}, separators=(',', ':')))}") as tap:
        assert next(tap.events())["columns"] == {"seq": soon}


def test_secrets_are_starred_out(plant: Dashboard) -> None:
    with tapped(plant, "node=rule:all") as rule, tapped(plant, "node=source:devices") as source:
        publish(plant, 1, more=', "token": "s3cret"')
        assert next(rule.events())["columns"]["token"] == "******"
        assert "s3cret" not in json.dumps(next(source.events()))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("node=rule:nobody", 404),
        ("node=connector:x", 404),
        ("node=rule:all&sample=0", 400),
        ("node=rule:all&sample=x", 400),
        ("node=rule:all&topic=a/%23/b", 400),
    ],
)
def test_what_cannot_be_tapped_is_refused(plant: Dashboard, query: str, status: int) -> None:
    assert plant.call("GET", f"tap?{query}")[0] == status


def test_a_tap_ends_with_the_pipeline(run: Callable[[str], Dashboard]) -> None:
    plant = run(PLANT)
    with tapped(plant, "node=rule:quick") as tap:
        next(tap.events())
        plant.stop()
        names = {name for name, _ in tap.messages()}  # it comes to an end
    assert names <= {"message", "passed"}


def test_no_more_is_shown_than_anybody_can_read(plant: Dashboard) -> None:
    with tapped(plant, "node=rule:quick") as tap:
        shown = passed = 0
        for name, data in tap.messages():
            shown += name == "message"
            passed = data if name == "passed" else passed
            if passed > 2000:
                break
    assert shown <= 150  # fifty a second


def test_one_that_does_not_read_holds_nobody(plant: Dashboard) -> None:
    deaf = socket.create_connection(("127.0.0.1", plant.port), timeout=10)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.sendall(f"GET /api/v1/tap?node=rule:quick HTTP/1.1\r\nHost: 127.0.0.1:{plant.port}\r\n\r\n".encode())
    with tapped(plant, "node=rule:quick") as tap:
        passed = (data for name, data in tap.messages() if name == "passed")
        wait_for(lambda: next(passed) > 1500)
    deaf.close()
    wait_for(lambda: plant.ask("rules/quick/metrics")["counters"]["passed"] > 1500)


def test_a_few_may_look_at_a_time(plant: Dashboard) -> None:
    taps = [Tap(plant, "node=rule:all") for _ in range(16)]
    assert plant.call("GET", "tap?node=rule:all")[0] == 429
    for tap in taps:
        tap.close()
    publish(plant, 1)  # a tap is over when there is something to show to it
    wait_for(lambda: _open(plant))


def _open(plant: Dashboard) -> bool:
    tap = Tap(plant, "node=rule:all")
    tap.close()
    return tap.answer.status == 200

"""EMQX's behaviour around rules and actions, probed from outside over HTTP; the numbers are those of the probes.

Where headrace differs it is said: one state word more (``degraded``), rows as a list, 200 with a document for 204.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from commands import wait_for
from dashboards import Dashboard
from headrace.testing import check_conservation
from rig import free_port

SOURCE = 'sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}\n'
OUTCOMES = ("matched", "success", "failed", "dropped", "late_reply", "queuing", "inflight")


class Server:
    """Keeps the headers and bodies of the requests it gets; ``statuses`` by path, 200 elsewhere."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.got: list[tuple[str, dict[str, str], str]] = []
        self.statuses: dict[str, int] = {}
        self._http: ThreadingHTTPServer | None = None

    def start(self) -> Server:
        server = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                server.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(server.statuses.get(self.path, 200))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()

    def bodies(self) -> list[str]:
        return [body for _, _, body in self.got]


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.stop()


class Plant:
    """Connector c1, action a1 and rule r1, made over HTTP as a user would."""

    def __init__(self, running: Dashboard, server: Server, **connector: Any) -> None:
        self.api = running
        self.add("connectors", "c1", type="http", url=server.url, **connector)
        self.add("sinks", "a1", type="http", connector="c1", path="/", retry={"initial": "50ms", "max": "200ms"})
        self.add("rules", "r1", sql='SELECT payload.x AS x FROM "t/#"', to="a1")

    def add(self, kind: str, name: str, **options: Any) -> None:
        status, told = self.api.call("POST", kind, {"name": name, **options})
        assert status == 201, told

    def put(self, path: str, body: Any = None) -> None:
        status, told = self.api.call("PUT", path, body)
        assert status == 200, told

    def counters(self, part: str) -> dict[str, int]:
        """Those that are not 0, of the outcomes of a sink or of a rule."""
        check_conservation(self.api.ask("status"))
        found: dict[str, int] = self.api.ask(f"{part}/metrics")["counters"]
        return {k: v for k, v in found.items() if v and (part.startswith("rules/") or k.partition(".")[0] in OUTCOMES)}

    def publish(self, x: int) -> None:
        self.api.publish("t/1", f'{{"x": {x}}}')

    def settled(self, part: str, **counters: int) -> None:
        wait_for(lambda: counters.items() <= self.counters(part).items())


@pytest.fixture
def plant(run: Callable[[str], Dashboard], server: Server) -> Plant:
    return Plant(run(SOURCE), server.start())


@pytest.mark.parametrize("kind", ["connectors", "sinks", "rules"])
def test_4_names(plant: Plant, kind: str) -> None:
    options: dict[str, Any] = {
        "connectors": {"type": "http", "url": "http://127.0.0.1:9"},
        "sinks": {"type": "console"},
        "rules": {"sql": 'SELECT * FROM "t/#"', "to": "a1"},
    }[kind]
    for name in ("my_httpserver", "my-httpserver", "A1"):
        plant.add(kind, name, **options)
    before = plant.api.config.read_text()
    for name in ("-x", "_x", "a b", "", "x" * 256):
        status, refused = plant.api.call("POST", kind, {"name": name, **options})
        assert status == 400, name
        assert "name" in refused["message"] or name in refused["message"]
    assert plant.api.config.read_text() == before


def test_5_the_way_to_a_server_is_tried(plant: Plant, server: Server) -> None:
    before = plant.api.config.read_text()
    assert plant.api.call("POST", "connectors/test", {"type": "http", "url": server.url})[0] == 200
    closed = {"type": "http", "url": f"http://127.0.0.1:{free_port()}"}
    status, refused = plant.api.call("POST", "connectors/test", closed)
    assert (status, refused["code"]) == (400, "TEST_FAILED")
    assert "Connection refused" in refused["message"]
    assert [each["name"] for each in plant.api.ask("connectors")] == ["c1"]
    assert plant.api.config.read_text() == before
    assert server.bodies() == []


def test_6_a_server_that_comes_later_gets_what_waited(run: Callable[[str], Dashboard], server: Server) -> None:
    plant = Plant(run(SOURCE), server)  # nobody listens yet
    plant.publish(1)
    found = wait_for(lambda: (c := plant.api.ask("status")["connectors"]["c1"])["state"] == "degraded" and c)
    assert "Connection refused" in found["reason"]
    server.start()
    plant.settled("sinks/a1", success=1)
    assert plant.api.ask("status")["connectors"]["c1"]["state"] == "running"
    assert server.bodies() == ['{"x":1}']


def test_39_a_disabled_action_is_given_nothing(plant: Plant, server: Server) -> None:
    plant.put("sinks/a1/enable/false")
    plant.publish(1)
    plant.settled("rules/r1", **{"actions.total": 1, "actions.discarded": 1})
    plant.put("sinks/a1/enable/true")
    assert plant.counters("sinks/a1") == {}
    plant.publish(2)
    plant.settled("sinks/a1", matched=1, success=1)
    assert server.bodies() == ['{"x":2}']


def test_40_what_goes_to_a_disabled_connector_is_dropped(plant: Plant, server: Server) -> None:
    plant.put("connectors/c1/enable/false")
    plant.publish(1)
    plant.settled("sinks/a1", **{"matched": 1, "dropped": 1, "dropped.resource_stopped": 1})
    plant.settled("rules/r1", **{"actions.failed": 1, "actions.failed.out_of_service": 1})
    assert server.bodies() == []


def test_41_what_is_in_use_is_not_deleted(plant: Plant) -> None:
    for part, user in (("connectors/c1", "sink a1"), ("sinks/a1", "rule r1")):
        status, refused = plant.api.call("DELETE", part)
        assert (status, refused["code"], refused["used_by"]) == (400, "IN_USE", [user])
    assert plant.api.call("DELETE", "sinks/a1?also_delete_dep_actions=true")[0] == 200
    assert plant.api.call("GET", "rules/r1")[1]["to"] == []
    assert plant.api.call("GET", "status")[1]["rules"]["r1"]["state"] == "running"
    for part in ("rules/r1", "connectors/c1"):
        assert plant.api.call("DELETE", part)[0] == 200


def test_42_rules_and_actions_count_each_for_itself(plant: Plant, server: Server) -> None:
    plant.add("rules", "r2", sql='SELECT payload.x AS x FROM "t/1"', to="a1")
    plant.publish(1)
    plant.settled("sinks/a1", matched=2, success=2)
    for rule in ("r1", "r2"):
        assert plant.counters(f"rules/{rule}")["actions.success"] == 1
    server.statuses["/bad"] = 404
    plant.add("sinks", "bad", type="http", connector="c1", path="/bad")
    plant.put("rules/r1", {"sql": 'SELECT payload.x AS x FROM "t/#"', "to": ["bad", "a1"]})
    plant.publish(2)
    plant.settled("sinks/bad", matched=1, failed=1)
    plant.settled("sinks/a1", matched=4, success=4)


def test_43_a_secret_is_shown_as_stars_and_kept(run: Callable[[str], Dashboard], server: Server) -> None:
    plant = Plant(run(SOURCE), server.start(), headers={"authorization": "Bearer s3cret", "x-a": "1"})
    shown = plant.api.ask("connectors/c1")
    assert shown["headers"] == {"authorization": "******", "x-a": "1"}
    plant.put("connectors/c1", {**shown, "headers": {**shown["headers"], "x-a": "2"}})
    plant.publish(1)
    plant.settled("sinks/a1", success=1)
    ((_, headers, _),) = server.got
    assert (headers["authorization"], headers["x-a"]) == ("Bearer s3cret", "2")
    status, refused = plant.api.call("PUT", "connectors/c1", {**shown, "pool_size": "many"})
    assert (status, "s3cret" in str(refused)) == (400, False)
    assert "s3cret" not in str(plant.api.ask("status")) + str(plant.api.ask("config"))
    plant.api.stop()
    assert "s3cret" not in "".join(plant.api.log)


def test_45_a_query_is_tried_on_an_event(plant: Plant, server: Server) -> None:
    sql = 'SELECT payload.x AS x FROM "t/#" WHERE payload.x > 1'

    def tried(sql: str, topic: str, x: int) -> tuple[int, Any]:
        context = {"topic": topic, "payload": f'{{"x": {x}}}'}
        return plant.api.call("POST", "rules/test", {"sql": sql, "context": context})

    status, told = tried(sql, "t/1", 2)
    assert (status, told["rows"]) == (200, [{"x": 2}])
    for topic, x in (("t/1", 0), ("u/1", 2)):
        status, refused = tried(sql, topic, x)
        assert (status, refused["code"]) == (412, "NOT_MATCH")
    status, refused = tried("SELECT payload.x FROM", "t/1", 2)
    assert (status, refused["line"], refused["column"] > 1) == (400, 1, True)
    assert plant.counters("rules/r1") == {}
    assert server.bodies() == []

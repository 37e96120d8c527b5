"""What a stranger would try: a device publishes by MQTT, a scripted server receives, the counters are read.

Each test has the number of its probe. 4 to 6, 39 to 43 and 45 are about the management API. Of the others these are
also, or in more detail, elsewhere: 7 to 20 in test_request.py, 21 to 24 and 30 in test_faults.py and test_pool.py,
23 in test_redirects.py, 29 and 36 in tests/integration/test_faults.py, 31 and 32 in test_pipeline.py, 38 in
test_pool.py.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import paho.mqtt.publish
import pytest

from headrace.config import check
from headrace.testing.pipelines import RunningPipeline, run_pipeline
from rig import free_port, until

OUTCOMES = frozenset(
    ["matched", "recovered", "success", "failed", "late_reply", "dropped", "queuing", "inflight", "headers_left_out"]
)
FAST = {"initial": "10ms", "max": "200ms"}


class Probe:
    """A running pipeline with one rule and the sink ``a1``."""

    def __init__(self, running: RunningPipeline, port: int) -> None:
        self._running = running
        self._port = port

    async def publish(self, topic: str, *payloads: str | bytes, client: str = "dev1", qos: int = 1) -> None:
        messages = [(topic, payload, qos, False) for payload in payloads]
        await asyncio.to_thread(
            paho.mqtt.publish.multiple, messages, "127.0.0.1", self._port, client_id=client, keepalive=10
        )

    def sink(self, name: str = "a1") -> dict[str, int]:
        """What became of its events: the counters and gauges that are not 0, without those of attempts and sizes."""
        counters = self._running.status()["sinks"][name]["counters"]
        return {key: value for key, value in counters.items() if value and key.partition(".")[0] in OUTCOMES}

    def rule(self) -> dict[str, int]:
        return {key: value for key, value in self._running.status()["rules"]["r1"]["counters"].items() if value}

    def retried(self) -> int:
        return int(self._running.status()["sinks"]["a1"]["counters"]["retried"])

    async def settled(self, n: int, timeout: float = 20.0) -> dict[str, int]:
        """Wait until ``n`` events of ``a1`` are settled; its counters."""

        def done() -> bool:
            counters = self.sink()
            return sum(counters.get(name, 0) for name in ("success", "failed", "dropped", "late_reply")) == n

        await until(done, timeout, f"{n} events settled")
        return self.sink()


@contextlib.asynccontextmanager
async def probing(
    url: str, sql: str = 'SELECT * FROM "t/#"', connector: Any = None, more: Any = None, **sink: Any
) -> AsyncIterator[Probe]:
    """The base configuration: profile emqx, a connector, an action, a rule."""
    port = free_port()
    config = {
        "sources": {"mqtt": {"type": "mqtt_server", "listen": f"127.0.0.1:{port}"}},
        "connectors": {"c1": {"type": "http", "url": url, **(connector or {})}},
        "rules": {"r1": {"sql": sql, "to": "a1"}},
        "sinks": {"a1": {"type": "http", "connector": "c1", "profile": "emqx", "retry": FAST, **sink}, **(more or {})},
    }
    async with run_pipeline(json.dumps(config)) as running:
        await running.until(lambda status: status["sources"]["mqtt"]["state"] == "running")
        yield Probe(running, port)


DELIVERED = {"matched": 1, "success": 1}
HELLO = '{ "msg": "hello HTTP Server" }'


# -- the seed's walk-through ------------------------------------------------------------------------------------------


async def test_1_a_publish_is_one_post_of_the_whole_event(server: Any) -> None:
    async with probing(server.url) as probe:
        await probe.publish("t/1", HELLO)
        assert await probe.settled(1) == DELIVERED
        assert probe.rule() == {"matched": 1, "passed": 1, "actions.total": 1, "actions.success": 1}
    (seen,) = server.seen
    body = json.loads(seen.body)
    assert (seen.method, seen.target, seen.header("content-type")) == ("POST", "/", "application/json")
    assert (body["topic"], body["payload"], body["event"]) == ("t/1", HELLO, "message.publish")


async def test_2_a_body_of_a_field_is_its_bytes(server: Any) -> None:
    async with probing(server.url, body="${payload.msg}") as probe:
        await probe.publish("t/1", HELLO)
        await probe.settled(1)
    assert server.seen[0].body == b"hello HTTP Server"


async def test_3_another_topic_moves_nothing(server: Any) -> None:
    async with probing(server.url) as probe:
        await probe.publish("x/1", HELLO)
        await probe.publish("t/1", HELLO)  # so that the first has been seen too
        assert await probe.settled(1) == DELIVERED
        assert probe.rule()["matched"] == 1
    assert len(server.seen) == 1


# -- building a request -----------------------------------------------------------------------------------------------

EVERY_KIND = '{"i":1,"f":1.5,"b":true,"n":null,"o":{"k":"v"},"l":["a",1],"s":"x\\"y"}'
AS_TEXT = (
    "a=${payload.i};b=${payload.f};c=${payload.b};d=${payload.n};e=${payload.o};f=${payload.l};g=${nope};h=${payload.s}"
)


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        pytest.param("/foo", "/bar", "/foo/bar", id="7a"),
        pytest.param("/foo/", "bar", "/foo/bar", id="7b"),
        pytest.param("/foo", "", "/foo", id="7c"),
        pytest.param("", "", "/", id="7d"),
        pytest.param("/foo", "?v=${qos}", "/foo?v=1", id="8"),
        pytest.param("", "/d/${clientid}/${payload.room}", "/d/dev1/7", id="9"),
    ],
)
async def test_targets(server: Any, base: str, path: str, target: str) -> None:
    async with probing(server.url + base, path=path) as probe:
        await probe.publish("t/1", '{"room": 7}')
        assert await probe.settled(1) == DELIVERED
    assert [seen.target for seen in server.seen] == [target]


async def test_10_a_value_stays_one_segment_of_the_path(server: Any) -> None:
    async with probing(server.url, path="/p/${payload.name}") as probe:
        await probe.publish("t/1", json.dumps({"name": "a b/ä?#"}))
        await probe.settled(1)
    (seen,) = server.seen
    assert seen.target.count("/") == 2
    assert unquote(seen.target) == "/p/a b/ä?#"


async def test_11_headers_have_templates_in_name_and_value(server: Any) -> None:
    async with probing(server.url, headers={"x-t": "${topic}", "x-${payload.k}": "v"}) as probe:
        await probe.publish("t/1", '{"k":"dyn"}')
        await probe.settled(1)
    assert (server.seen[0].header("x-t"), server.seen[0].header("x-dyn")) == ("t/1", "v")


@pytest.mark.parametrize("name", ["x-a", "X-A"])
async def test_12_the_actions_header_wins_whatever_its_case(server: Any, name: str) -> None:
    async with probing(server.url, connector={"headers": {"x-a": "1", "x-b": "1"}}, headers={name: "2"}) as probe:
        await probe.publish("t/1", "x")
        await probe.settled(1)
    assert (server.seen[0].header("x-a"), server.seen[0].header("x-b")) == ("2", "1")


async def test_13_a_header_cannot_be_broken_out_of(server: Any) -> None:
    async with probing(server.url, headers={"x-h": "${payload.h}"}) as probe:
        await probe.publish("t/1", json.dumps({"h": "a\r\nX-Evil: 1"}))
        assert await probe.settled(1) == {**DELIVERED, "headers_left_out": 1}
    assert (server.seen[0].header("x-h"), server.seen[0].header("x-evil")) == (None, None)


@pytest.mark.parametrize(("method", "body"), [("get", b""), ("delete", b""), ("put", b"t/1")])
async def test_14_get_and_delete_have_no_body(server: Any, method: str, body: bytes) -> None:
    async with probing(server.url, method=method, body="${topic}") as probe:
        await probe.publish("t/1", "x")
        await probe.settled(1)
    assert (server.seen[0].method, server.seen[0].body) == (method.upper(), body)


def test_14_patch_is_not_emqxs(tmp_path: Any) -> None:
    (tmp_path / "p.yaml").write_text("sinks: {a1: {type: http, url: 'http://h', profile: emqx, method: patch}}")
    errors = [str(problem) for problem in check([tmp_path / "p.yaml"]).problems if problem.severity == "error"]
    assert len(errors) == 1
    assert "PATCH is not for profile: emqx" in errors[0]


async def test_15_a_whole_output_is_json(server: Any) -> None:
    async with probing(server.url, 'SELECT clientid, payload.t AS t FROM "t/#"', body="${.}") as probe:
        await probe.publish("t/1", '{"t": 21.5}')
        await probe.settled(1)
    assert json.loads(server.seen[0].body) == {"clientid": "dev1", "t": 21.5}


@pytest.mark.parametrize(
    ("body", "payload", "sent"),
    [
        pytest.param(AS_TEXT, EVERY_KIND, b'a=1;b=1.5;c=true;d=null;e={"k":"v"};f=["a",1];g=undefined;h=x"y', id="16"),
        pytest.param("${$}{a} ${a-b} ${ a }", "x", b"${a} ${a-b} ${ a }", id="17"),
        pytest.param("", "x", b"", id="18"),
        pytest.param("${payload}", b"\xff\x00\xfe", b"\xff\x00\xfe", id="19"),
    ],
)
async def test_bodies(server: Any, body: str, payload: str | bytes, sent: bytes) -> None:
    async with probing(server.url, body=body) as probe:
        await probe.publish("t/1", payload)
        assert await probe.settled(1) == DELIVERED
    assert server.seen[0].body == sent
    assert server.seen[0].header("content-length") == str(len(sent))


async def test_19_bytes_in_json_say_that_they_are_base64(server: Any) -> None:
    async with probing(server.url) as probe:
        await probe.publish("t/1", b"\xff\x00\xfe")
        await probe.settled(1)
    body = json.loads(server.seen[0].body)
    assert body["payload_is_base64"] is True
    assert base64.b64decode(body["payload"]) == b"\xff\x00\xfe"


@pytest.mark.parametrize(("profile", "username"), [("emqx", "undefined"), ("headrace", None)])
async def test_20_no_user_name_is_undefined_or_null(server: Any, profile: str, username: str | None) -> None:
    async with probing(server.url, 'SELECT *, username FROM "t/#"', profile=profile) as probe:
        await probe.publish("t/1", "x")
        await probe.settled(1)
    assert json.loads(server.seen[0].body)["username"] == username


# -- statuses and retry -----------------------------------------------------------------------------------------------


async def test_21_any_2xx_is_a_success(server: Any) -> None:
    server.script = [server.answer(201), server.answer(204)]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x", "y")
        assert await probe.settled(2) == {"matched": 2, "success": 2}


@pytest.mark.parametrize("status", [pytest.param(404, id="22"), pytest.param(500, id="24")])
async def test_other_statuses_fail_at_once(server: Any, status: int) -> None:
    server.script = [server.answer(status)]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x", "y")
        assert await probe.settled(2) == {"matched": 2, "failed": 1, "success": 1}
        assert (probe.rule()["actions.failed"], probe.rule()["actions.failed.unknown"]) == (1, 1)
        assert probe.retried() == 0
    assert len(server.seen) == 2


async def test_23_a_redirect_is_a_failure(server: Any) -> None:
    other = type(server)()
    await other.start()
    server.default = server.answer(302, b"", f"Location: {other.url}/")
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "failed": 1}
    await other.stop()
    assert (len(server.seen), other.connections) == (1, 0)


async def test_25_503_is_tried_until_it_succeeds(server: Any) -> None:
    server.script = [server.answer(503), server.answer(503)]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == DELIVERED
    assert len(server.seen) == 3


async def test_26_429_is_tried_until_it_succeeds(server: Any) -> None:
    server.script = [server.answer(429) for _ in range(4)]
    async with probing(server.url, ttl=None) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == DELIVERED
        assert probe.retried() == 1
    assert len(server.seen) == 5


async def test_27_an_event_past_its_ttl_is_dropped(server: Any) -> None:
    server.default = server.answer(503)
    async with probing(server.url, ttl="1s") as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "dropped": 1, "dropped.expired": 1}
        assert probe.rule()["actions.failed"] == 1
    assert len(server.seen) >= 3
    assert server.seen[-1].at - server.seen[0].at <= 2


async def test_28_a_server_that_was_never_there_expires_it(server: Any) -> None:
    server.listen_no_more()
    async with probing(server.url, ttl="500ms") as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "dropped": 1, "dropped.expired": 1}
        assert (probe.rule()["actions.failed"], probe.rule()["actions.failed.unknown"]) == (1, 1)
    assert server.seen == []


async def test_29_what_waited_for_the_server_arrives_in_order_once(server: Any) -> None:
    await server.stop()
    async with probing(server.url, connector={"pool_size": 1}, ttl=None, inflight=1, body="${payload}") as probe:
        await probe.publish("t/1", *[str(i) for i in range(10)])
        await until(lambda: probe.sink().get("inflight") == 1)
        await server.start(server.port)
        assert await probe.settled(10) == {"matched": 10, "success": 10}
    assert [seen.body for seen in server.seen] == [str(i).encode() for i in range(10)]


async def test_30_a_request_without_an_answer_is_sent_again(server: Any) -> None:
    server.script = [server.close()]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == DELIVERED
    assert len(server.seen) == 2


async def test_31_retry_after_is_kept_to(server: Any) -> None:
    server.script = [server.answer(503, b"", "Retry-After: 1")]
    async with probing(server.url, retry={**FAST, "max": "5s"}) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == DELIVERED
    assert server.seen[1].at - server.seen[0].at >= 0.95


async def test_32_the_delivery_id_is_that_of_the_record(server: Any) -> None:
    server.script = [server.answer(503), server.answer(503)]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x", "y")
        await probe.settled(2)
    ids = [seen.header("idempotency-key") for seen in server.seen]
    assert len(set(ids[:3])) == 1
    assert len(set(ids)) == 2


async def test_33_an_answer_after_the_ttl_is_late(server: Any) -> None:
    server.default = server.answer(wait=lambda: asyncio.sleep(1.0))
    async with probing(server.url, ttl="500ms") as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "late_reply": 1}
        assert probe.rule()["actions.failed"] == 1


async def test_34_a_publisher_does_not_wait_for_the_receiver(server: Any) -> None:
    gate = asyncio.Event()
    server.default = server.answer(wait=gate.wait)
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x")  # returns with the PUBACK
        await server.until(lambda: len(server.seen) == 1)
        assert probe.sink() == {"matched": 1, "inflight": 1}
        gate.set()
        assert await probe.settled(1) == DELIVERED


# -- queue and order --------------------------------------------------------------------------------------------------


async def test_35_the_window_is_kept_to(server: Any) -> None:
    gate = asyncio.Event()
    server.default = server.answer(wait=gate.wait)
    async with probing(server.url, inflight=1) as probe:
        await probe.publish("t/1", *["x"] * 50)
        await until(lambda: probe.sink() == {"matched": 50, "queuing": 49, "inflight": 1})
        assert len(server.seen) == server.most_open == 1
        gate.set()
        assert await probe.settled(50) == {"matched": 50, "success": 50}


async def test_36_one_window_keeps_the_order_of_a_client(server: Any) -> None:
    chance = random.Random(36)
    server.respond = lambda _: server.answer(wait=lambda: asyncio.sleep(chance.random() / 100))
    async with probing(server.url, connector={"pool_size": 1}, inflight=1, body="${payload}") as probe:
        await probe.publish("t/1", *[str(i) for i in range(200)])
        await probe.settled(200)
    assert [int(seen.body) for seen in server.seen] == list(range(200))


async def test_37_a_full_buffer_drops_the_oldest(server: Any) -> None:
    await server.stop()
    buffer = {"max_bytes": "10KB", "when_full": "drop_oldest"}
    async with probing(server.url, buffer=buffer, ttl=None, body="${payload}", retry={**FAST, "max": "1s"}) as probe:
        for i in range(100):
            await probe.publish("t/1", str(i).zfill(1000))
        await until(lambda: probe.sink().get("matched") == 100)
        assert probe.sink()["dropped.queue_full"] >= 80
        await server.start(server.port)
        counters = await probe.settled(100)
    assert counters["dropped.queue_full"] == 100 - counters["success"]
    arrived = [int(seen.body) for seen in server.seen]
    assert arrived == sorted(arrived)
    assert arrived[-1] == 99
    assert len([i for i in arrived if i < 80]) <= 1


async def test_38_the_pool_and_the_depth_are_kept_to(server: Any) -> None:
    open_on: dict[int, int] = {}

    def respond(seen: Any) -> Any:
        open_on[seen.connection] = open_on.get(seen.connection, 0) + 1
        assert open_on[seen.connection] == 1

        async def wait() -> None:
            await asyncio.sleep(0.005)
            open_on[seen.connection] -= 1

        return server.answer(wait=wait)

    server.respond = respond
    async with probing(server.url, connector={"pipelining": 1, "pool_size": 4}, order="none") as probe:
        await probe.publish("t/1", *["x"] * 100)
        assert await probe.settled(100) == {"matched": 100, "success": 100}
    assert server.most_open == 4


async def test_44_the_fallback_gets_what_failed_once(server: Any) -> None:
    server.default = server.answer(404)
    other = type(server)()
    await other.start()
    for status in (200, 404):  # then a fallback that fails too, which must not go round
        other.default = other.answer(status)
        before = len(other.seen)
        fallback = {"a2": {"type": "http", "url": other.url, "profile": "emqx", "retry": FAST}}
        async with probing(server.url, on_error="a2", more=fallback) as probe:
            await probe.publish("t/1", HELLO)
            assert await probe.settled(1) == {"matched": 1, "failed": 1}
            outcome = "success" if status == 200 else "failed"
            await until(lambda wanted=outcome: probe.sink("a2") == {"matched": 1, wanted: 1})
            assert (probe.rule()["actions.total"], probe.rule()["actions.failed"]) == (1, 1)
        assert len(other.seen) == before + 1
        assert json.loads(other.seen[-1].body)["payload"] == HELLO
    await other.stop()

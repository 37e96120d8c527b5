"""How a server is: by a request now and then, and by a test of the way to it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headrace import NotConnected

CHECK = {"interval": "20ms", "timeout": "300ms", "path": "/healthz?deep=1"}


async def state(server: Any, connector: Any, wanted: str) -> str:
    """Wait, from check to check, until the connector is in this state; the reason it gives."""
    await server.until(lambda: connector.ctx.status.state == wanted)
    return str(connector.ctx.status.reason)


async def test_nothing_is_sent_without_a_health_check(server: Any, client: Any) -> None:
    connector = await client.connector(server.url)
    await connector.health()
    await server.until(lambda: server.connections == 1 and server.open == 0)
    assert server.seen == []


async def test_the_check_is_sent_at_its_interval_with_the_connectors_headers(server: Any, client: Any) -> None:
    connector = await client.connector(f"{server.url}/base?a=1", health_check=CHECK, headers={"X-Api-Key": "k"})
    await server.until(lambda: len(server.seen) >= 3)
    assert await state(server, connector, "running") == ""
    assert {(seen.method, seen.target, seen.header("x-api-key")) for seen in server.seen} == {
        ("GET", "/healthz?deep=1", "k")
    }
    assert server.seen[0].header("content-type") is None


async def test_another_answer_than_the_expected_degrades_and_recovers(server: Any, client: Any) -> None:
    server.default = server.answer(503)
    connector = await client.connector(server.url, health_check=CHECK)
    reason = await state(server, connector, "degraded")
    assert reason == "the health check failed: the server answered 503 Service Unavailable to GET /healthz?deep=1"
    with pytest.raises(NotConnected, match="503"):
        await connector.health()
    server.default = server.answer(204)
    await state(server, connector, "running")
    await connector.health()


async def test_deliveries_go_on_while_the_check_fails_and_do_not_hide_it(server: Any, client: Any) -> None:
    server.respond = lambda seen: server.answer(500 if seen.method == "HEAD" else 200)
    sink = await client.sink(server.url, {"health_check": {**CHECK, "method": "HEAD"}})
    connector = sink.ctx.connector
    await state(server, connector, "degraded")
    assert await client.deliver(sink, client.events(3)) == [None] * 3
    assert connector.ctx.status.state == "degraded"


async def test_no_answer_in_time_is_a_failure(server: Any, client: Any) -> None:
    server.default = server.hang()
    connector = await client.connector(server.url, health_check=CHECK)
    assert "no answer within 0.3 s" in await state(server, connector, "degraded")


async def test_expect_may_name_what_it_likes(server: Any, client: Any) -> None:
    server.default = server.answer(405)
    connector = await client.connector(server.url, health_check={**CHECK, "expect": [405, "3xx"]})
    await state(server, connector, "running")


async def test_a_check_does_not_wait_for_the_pool(server: Any, client: Any) -> None:
    server.respond = lambda seen: server.hang() if seen.method == "POST" else server.answer()
    connector = await client.connector(server.url, pool_size=1, health_check={**CHECK, "interval": "1h"})
    sink = client.sink_of(connector)
    stuck = asyncio.create_task(sink.write(client.events(), lambda *_: None))
    await server.until(lambda: any(seen.method == "POST" for seen in server.seen))
    await connector.health()
    stuck.cancel()
    await asyncio.wait([stuck])


class TestTheWay:
    async def test_has_a_step_for_each_stage(self, server: Any, client: Any) -> None:
        server.default = server.answer(404)
        connector = await client.connector(server.url)
        steps = await connector.test()
        assert [(step.name, step.ok) for step in steps] == [("dns", True), ("tcp", True), ("http", True)]
        assert steps[0].facts == {"addresses": ["127.0.0.1"]}
        assert steps[2].facts == {"status": 404}
        assert steps[2].detail == "the server answered 404 Not Found to HEAD /"
        assert all(step.seconds >= 0 for step in steps)
        json.dumps([step.facts for step in steps])
        assert connector.ctx.metrics.snapshot() == {"connections": 0}

    async def test_ends_where_it_fails(self, server: Any, client: Any) -> None:
        server.listen_no_more()
        *_, last = await (await client.connector(server.url)).test()
        assert (last.name, last.ok) == ("tcp", False)
        assert last.detail == f"Connection refused by {server.url}"

    async def test_says_that_a_name_is_unknown(self, client: Any) -> None:
        (only,) = await (await client.connector("http://nowhere.invalid")).test()
        assert (only.name, only.ok) == ("dns", False)
        assert only.detail.startswith("cannot resolve the host of http://nowhere.invalid")

    async def test_wants_what_the_health_check_wants(self, server: Any, client: Any) -> None:
        server.default = server.answer(401)
        connector = await client.connector(server.url, health_check={**CHECK, "interval": "1h"})
        *_, last = await connector.test()
        assert (last.name, last.ok) == ("http", False)
        assert "401 Unauthorized to GET /healthz" in last.detail

    async def test_finds_a_server_that_speaks_no_http(self, server: Any, client: Any) -> None:
        server.default = server.raw(b"220 mail.example ESMTP\r\n", close=True)
        *_, last = await (await client.connector(server.url)).test()
        assert (last.name, last.ok) == ("http", False)


class TestShowing:
    async def test_a_rendered_request_has_no_secret(self, server: Any, client: Any) -> None:
        sink = await client.sink(
            f"{server.url}/v1?token=s3cret",
            {"headers": {"Authorization": "Bearer s3cret", "X-Plain": "p"}},
            body={"a": "${payload.n}"},
        )
        (event,) = client.events()
        shown = sink.render(event)
        assert shown["method"] == "POST"
        assert shown["url"] == f"{server.url}/v1?token=***"
        assert shown["body"] == '{"a":1}'
        assert shown["headers"]["Authorization"] == "******"
        assert shown["headers"]["X-Plain"] == "p"
        assert shown["headers"]["Idempotency-Key"] == event.delivery_id
        assert "s3cret" not in json.dumps(shown)
        assert server.connections == 0

    async def test_a_binary_body_is_shown_as_base64(self, server: Any, client: Any) -> None:
        sink = await client.sink(server.url, body="${payload}", compression="gzip")
        shown = sink.render(client.events(payload=b"\xff\x00")[0])
        assert (shown["body"], shown["body_is_base64"]) == ("/wA=", True)

    async def test_a_trial_shows_the_answer_and_counts_nothing(self, server: Any, client: Any) -> None:
        server.script = [server.answer(201, b'{"id": 7}'), server.answer(422, "so nicht, Jürgen".encode())]
        sink = await client.sink(server.url)
        good, bad = [await sink.trial(event) for event in client.events(2)]
        assert (good["ok"], good["error"], good["status"], good["answer"]) == (True, None, 201, '{"id": 7}')
        assert (bad["ok"], bad["error"], bad["answer"]) == (False, "the server answered 422", "so nicht, Jürgen")
        assert sink.ctx.connector.ctx.metrics.snapshot() == {"connections": 0}

    async def test_a_trial_without_a_server_says_why(self, server: Any, client: Any) -> None:
        server.listen_no_more()
        sink = await client.sink(server.url)
        assert await sink.trial(client.events()[0]) == {"ok": False, "error": f"Connection refused by {server.url}"}

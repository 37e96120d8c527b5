"""What a stranger would try, second half: answers, retry, queue, order and the fallback.

Each test has the number of its probe, and the numbers in it are the probe's. 4 to 6, 39 to 43 and 45 are about the
management API. Of the others these are also, or in more detail, elsewhere: 21 to 24 and 30 in test_faults.py
and test_pool.py, 23 in test_redirects.py, 29 and 36 in tests/integration/test_faults.py, 31 and 32 in
test_pipeline.py, 38 in test_pool.py.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from probing import DELIVERED, FAILED_ACTION, FAST, HELLO, probing
from rig import until

# -- statuses and retry -----------------------------------------------------------------------------------------------


async def test_21_any_2xx_is_a_success(server: Any) -> None:
    server.script = [server.answer(201), server.answer(204)]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x", "y")
        assert await probe.settled(2) == {"matched": 2, "success": 2}


@pytest.mark.parametrize("status", [pytest.param(404, id="22"), pytest.param(500, id="24")])
async def test_other_statuses_fail_at_once(server: Any, status: int) -> None:
    server.default = server.answer(status)
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "failed": 1}
        assert probe.rule() == FAILED_ACTION
        assert probe.retried() == 0
        assert len(server.seen) == 1
        await probe.publish("t/1", "y")
        published = asyncio.get_running_loop().time()
        assert await probe.settled(2) == {"matched": 2, "failed": 2}
    assert len(server.seen) == 2
    assert server.seen[1].at - published < 1


async def test_23_a_redirect_is_a_failure(server: Any) -> None:
    other = type(server)()
    await other.start()
    server.default = server.answer(302, b"", f"Location: {other.url}/")
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "failed": 1}
        assert probe.rule() == FAILED_ACTION
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
    async with probing(server.url, ttl="2s") as probe:
        published = asyncio.get_running_loop().time()
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "dropped": 1, "dropped.expired": 1}
        assert probe.rule() == FAILED_ACTION
    assert len(server.seen) >= 3
    assert server.seen[-1].at - published <= 3


async def test_28_a_server_that_was_never_there_expires_it(server: Any) -> None:
    server.listen_no_more()
    async with probing(server.url, ttl="1s") as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "dropped": 1, "dropped.expired": 1}
        assert probe.rule() == FAILED_ACTION
    assert server.seen == []


async def test_29_what_waited_for_the_server_arrives_in_order_once(server: Any) -> None:
    await server.stop()
    async with probing(server.url, connector={"pool_size": 1}, ttl=None, inflight=1, body="${payload}") as probe:
        await probe.publish("t/1", *[str(i) for i in range(10)])
        await until(lambda: probe.attempts() > 3)  # it has been away for a while
        assert probe.sink() == {"matched": 10, "queuing": 9, "inflight": 1}
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
    server.script = [server.answer(503, b"", "Retry-After: 2")]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == DELIVERED
    assert len(server.seen) == 2
    assert server.seen[1].at - server.seen[0].at >= 1.9


async def test_32_the_delivery_id_is_that_of_the_record(server: Any) -> None:
    server.script = [server.answer(503), server.answer(503)]
    async with probing(server.url) as probe:
        await probe.publish("t/1", "x", "y")
        await probe.settled(2)
    ids = [seen.header("idempotency-key") for seen in server.seen]
    assert len(set(ids[:3])) == 1
    assert len(set(ids)) == 2


async def test_33_an_answer_after_the_ttl_is_late(server: Any) -> None:
    server.default = server.answer(wait=lambda: asyncio.sleep(3.0))
    async with probing(server.url, ttl="1s") as probe:
        await probe.publish("t/1", "x")
        assert await probe.settled(1) == {"matched": 1, "late_reply": 1}
        assert probe.rule() == FAILED_ACTION
    assert len(server.seen) == 1


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
        assert len(server.seen) == 1
        gate.set()
        assert await probe.settled(50) == {"matched": 50, "success": 50}
    assert (server.most_waiting, server.ahead, len(server.seen)) == (1, False, 50)


async def test_36_one_window_keeps_the_order_of_a_client(server: Any) -> None:
    chance = random.Random(36)
    server.respond = lambda _: server.answer(wait=lambda: asyncio.sleep(chance.random() / 50))
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
    server.default = server.answer(wait=lambda: asyncio.sleep(0.05))
    async with probing(server.url, connector={"pipelining": 1, "pool_size": 4}, order="none") as probe:
        await probe.publish("t/1", *["x"] * 100)
        assert await probe.settled(100) == {"matched": 100, "success": 100}
    assert (server.connections, server.most_open, server.most_waiting, server.ahead) == (4, 4, 4, False)


async def test_38_a_depth_of_two_is_seen_to_be_ahead(server: Any) -> None:
    """So that the test above can fail."""
    server.default = server.answer(wait=lambda: asyncio.sleep(0.01))
    async with probing(server.url, connector={"pipelining": 2, "pool_size": 4}, order="none") as probe:
        await probe.publish("t/1", *["x"] * 50)
        await probe.settled(50)
    assert server.ahead


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

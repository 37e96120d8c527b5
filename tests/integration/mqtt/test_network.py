"""Bad networks and bad days of a real Mosquitto: found, named, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy import Proxy

pytestmark = pytest.mark.mosquitto


def numbers(first: int, end: int) -> list[str]:
    return [str(n) for n in range(first, end)]


@pytest.fixture
async def proxied() -> AsyncIterator[Callable[..., Awaitable[Proxy]]]:
    made: list[Proxy] = []

    async def make(broker) -> Proxy:
        made.append(Proxy(broker.port))
        await made[-1].start()
        return made[-1]

    yield make
    for proxy in made:
        await proxy.stop()


async def online(reader) -> None:
    await reader.until(lambda: reader.state[0] == "running" and reader.source._link.lost is None)


@pytest.mark.parametrize("qos", [1, 2])
async def test_cuts_in_mid_stream_lose_nothing(mosquitto, proxied, subscribe, publish, qos):
    broker = await mosquitto()
    proxy = await proxied(broker)
    proxy.pieces = 300  # cuts fall into packets
    reader = await subscribe(proxy, qos=qos)
    reader.start()
    for n in range(5):
        sending = asyncio.create_task(publish(broker, 200, qos, first=200 * n))
        await reader.arrived(200 * n + 50)
        proxy.cut()
        await sending
    await reader.until(lambda: reader.payloads[-1] == "999")
    firsts = list(dict.fromkeys(reader.payloads))
    assert firsts == numbers(0, 1000)
    if qos == 2:  # with QoS 1 the broker repeats messages whose answers were lost, and nothing tells them from new ones
        assert reader.payloads == firsts


async def test_a_slow_network_is_only_slow(mosquitto, proxied, subscribe, publish):
    broker = await mosquitto()
    proxy = await proxied(broker)
    proxy.delay, proxy.pieces = 0.01, 500
    reader = await subscribe(proxy, receive_maximum=20)
    reader.start()
    await publish(broker, 100)
    await reader.arrived(100)
    assert reader.payloads == numbers(0, 100)
    assert not reader.errors


async def test_a_black_hole_is_noticed_by_a_ping_and_left(mosquitto, proxied, subscribe, publish):
    broker = await mosquitto()
    proxy = await proxied(broker)
    reader = await subscribe(proxy, keepalive="5s", ping_timeout="100ms", connect_timeout="1s")
    reader.start()
    await publish(broker, 10)
    await reader.arrived(10)
    proxy.swallows = True
    link = reader.source._link
    link._client._last_bytes_received -= 10  # as if so much time went by
    link._tick()
    await reader.until(lambda: link.lost)
    assert link.lost == "the broker does not answer pings"
    await reader.until(lambda: any("does not answer to the connection" in error for error in reader.errors))
    proxy.swallows = False
    await publish(broker, 10, first=10)
    await reader.arrived(20)
    assert reader.payloads == numbers(0, 20)


async def test_a_broker_that_sends_nothing_is_left_after_a_while(mosquitto, proxied, subscribe, publish):
    broker = await mosquitto()
    proxy = await proxied(broker)
    reader = await subscribe(proxy, stale_after="1s", watch_dropped=False)
    reader.start()
    await reader.until(lambda: reader.errors)
    assert reader.errors[0] == f"{proxy.url}: no message for 1 s (`stale_after`)"
    await publish(broker, 10)
    await reader.arrived(10)


async def test_a_network_that_goes_away_in_the_handshake(mosquitto, proxied, subscribe, publish):
    broker = await mosquitto()
    proxy = await proxied(broker)
    reader = await subscribe(proxy, connect_timeout="1s")
    reader.start()
    proxy.cut()
    await reader.until(lambda: proxy.connections >= 2)
    proxy.cut()  # now and then before its CONNACK
    await online(reader)
    await publish(broker, 10)
    await reader.arrived(10)


async def test_a_broker_without_persistence_forgets_and_is_told_again(mosquitto, proxied, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker)
    reader.start(settle=False)
    await publish(broker, 10)
    await reader.arrived(10)
    await broker.stop()
    await broker.start()
    await reader.until(lambda: reader.source._link.lost is None and reader.state[0] == "running")
    assert not reader.source._link.session_present
    for _, settle in reader.unsettled:
        settle(None)  # answers of a connection that is no more: they must not reach the new one
    await publish(broker, 10, first=10)
    await reader.arrived(20)
    assert reader.payloads == numbers(0, 20)


async def test_what_a_full_queue_drops_at_the_broker_is_seen(mosquitto, subscribe, publish):
    broker = await mosquitto("max_queued_messages 10\nmax_inflight_messages 5\nsys_interval 1")
    reader = await subscribe(broker, receive_maximum=5)
    reader.start(settle=False)
    await reader.until(lambda: reader.source._dropped.last == 0)
    await publish(broker, 50)
    await reader.until(lambda: reader.source.ctx.metrics["broker.dropped"])
    assert reader.source.ctx.metrics["broker.dropped"] == 50 - 15
    assert "dropped 35 messages" in reader.source.ctx.status.last_error
    assert not [event for event in reader.events if event["topic"].startswith("$SYS")]


async def test_what_the_broker_drops_while_we_are_away_is_told_when_we_are_back(
    mosquitto, subscribe, publish, tmp_path
):
    broker = await mosquitto("max_queued_messages 10\nsys_interval 1")
    before = await subscribe(broker, state_dir=tmp_path)
    before.start()
    await before.until(lambda: before.source._dropped.last == 0)
    await before.close()
    await publish(broker, 50)
    after = await subscribe(broker, state_dir=tmp_path)
    after.start()
    await after.until(lambda: after.source.ctx.metrics["broker.dropped"] == 40)


async def test_a_rule_may_read_the_counter_itself(mosquitto, subscribe):
    broker = await mosquitto("sys_interval 1")
    reader = await subscribe(broker, filters=("$SYS/broker/publish/#",))
    reader.start()
    await reader.until(lambda: any(event["topic"].endswith("/dropped") for event in reader.events))


async def test_two_clients_of_one_id_are_named(mosquitto, subscribe):
    broker = await mosquitto()
    one = await subscribe(broker)
    one.start()
    two = await subscribe(broker)
    two.start()
    await one.until(lambda: one.state[0] == "degraded" or two.state[0] == "degraded")
    (state,) = {reader.state[1] for reader in (one, two) if reader.state[0] == "degraded"}
    assert "client use the id headrace-test-plant?" in state  # this Mosquitto closes without a word
    assert "give each its own `client_id`" in state

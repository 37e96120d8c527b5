"""Messages of a real Mosquitto: each once, in order, acknowledged only when the engine has it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headrace_plugins.mqtt.client import unfit

pytestmark = pytest.mark.mosquitto

READERS = [("bulk", 0), ("bulk", 1), ("bulk", 2), ("stock", 0), ("stock", 1)]


def numbers(first: int, end: int) -> list[str]:
    return [str(n) for n in range(first, end)]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize(("kind", "qos"), READERS)
async def test_every_message_arrives_once_in_order(mosquitto, subscribe, publish, kind, qos, version):
    broker = await mosquitto()
    reader = await subscribe(broker, stock=kind == "stock", qos=qos, version=version)
    reader.start()
    await publish(broker, 500, qos)
    events = await reader.arrived(500)
    assert reader.payloads == numbers(0, 500)
    event = events[8]
    assert event.columns == {
        "event": "message.publish",
        "id": event.id,
        "topic": "t/1",
        "payload": "8",
        "qos": qos,
        "flags": {"retain": False, "dup": False},
        "pub_props": {},
        "publish_received_at": event.timestamp,
        "timestamp": event.timestamp,
        "node": event["node"],
    }
    assert event.key == "t/1"
    assert reader.state == ("running", f"{broker.url}, MQTT {version}")
    assert reader.source._intake.held == 0


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize(("kind", "qos"), [("bulk", 1), ("bulk", 2), ("stock", 1)])
@pytest.mark.parametrize("ack", ["none", "odd", "reversed"])
async def test_what_was_not_acknowledged_comes_again_after_a_crash(
    mosquitto, subscribe, publish, kind, qos, version, ack
):
    broker = await mosquitto()
    options: dict[str, Any] = {"stock": kind == "stock", "qos": qos, "version": version}
    reader = await subscribe(broker, **options)
    reader.start(settle=False)
    for n in range(40):  # one by one: each is a batch of its own
        await publish(broker, 1, qos, first=n)
        await reader.arrived(n + 1)
    taken = []
    if ack == "odd":
        taken = reader.unsettled[1::2]
    elif ack == "reversed":
        taken = reader.unsettled[19::-1]
    for _, settle in taken:
        settle(None)
    await asyncio.sleep(0.05)  # the answers are on their way
    await reader.kill()

    again = await subscribe(broker, **options)
    again.start()
    await publish(broker, 1, qos, first=40)
    # answers keep the order of the messages: with the odd ones settled, none could go out
    expected = numbers(20, 41) if ack == "reversed" else numbers(0, 41)
    await again.until(lambda: again.payloads[-1:] == ["40"])
    assert again.payloads == expected
    assert all(event["flags"]["dup"] for event in again.events[:-1])


async def test_messages_published_while_we_are_away_wait_for_us(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker)
    await reader.close()
    await publish(broker, 50)
    reader = await subscribe(broker)
    reader.start()
    await reader.arrived(50)
    assert reader.payloads == numbers(0, 50)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_broken_connection_brings_nothing_twice(mosquitto, subscribe, publish, qos, version):
    broker = await mosquitto()
    reader = await subscribe(broker, qos=qos, version=version)
    reader.start(settle=False)
    await publish(broker, 100, qos)
    await reader.arrived(100)
    half = len(reader.unsettled) // 2
    for _, settle in reader.unsettled[:half]:
        settle(None)
    await asyncio.sleep(0.05)  # the answers are on their way
    reader.source._link.fail("cut")
    await reader.until(lambda: reader.source._link.lost is None)
    await publish(broker, 100, qos, first=100)
    await reader.arrived(200)
    for _, settle in reader.unsettled[half:]:
        settle(None)
    await reader.answered()
    assert reader.payloads == numbers(0, 200)
    await reader.stop()
    again = await subscribe(broker, qos=qos, version=version)  # the same id: it takes the session over
    again.start()
    await publish(broker, 1, qos, first=200)
    await again.until(lambda: again.payloads[-1:] == ["200"])
    assert again.payloads == ["200"]


async def test_a_second_break_before_it_was_settled_brings_nothing_twice(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker)
    reader.start(settle=False)
    await publish(broker, 20)
    await reader.arrived(20)
    for _ in range(3):
        reader.source._link.fail("cut")
        await reader.until(lambda: reader.source._link.lost is None)
        await reader.until(lambda: reader.source._link.incoming.unacked == 20)
    assert len(reader.events) == 20
    for _, settle in reader.unsettled:
        settle(None)
    await reader.until(lambda: reader.source._link.incoming.unacked == 0)
    await publish(broker, 1, first=20)
    await reader.arrived(21)
    assert reader.payloads == numbers(0, 21)


async def test_a_refused_message_comes_again(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker)
    reader.start(settle=False)
    await publish(broker, 3)
    await reader.arrived(3)
    for _, settle in reader.unsettled:
        settle(RuntimeError("the disk is full"))
    await reader.arrived(6)
    assert reader.payloads == numbers(0, 3) * 2
    assert "did not take a message" in reader.errors[0]


@pytest.mark.parametrize("kind", ["bulk", "stock"])
async def test_a_broker_that_restarts_is_found_again(mosquitto, subscribe, publish, tmp_path, kind):
    broker = await mosquitto(f"user root\npersistence true\npersistence_location {tmp_path}/\nmax_queued_messages 0")
    reader = await subscribe(broker, stock=kind == "stock")
    reader.start()
    await publish(broker, 10)
    await reader.arrived(10)
    await reader.answered()
    await broker.stop()
    await reader.until(lambda: len(reader.errors) >= 3)
    assert reader.errors[0].startswith(f"{broker.url}: the ")  # "connection broke", or newer ones say why
    assert reader.errors[-1] == f"cannot connect to {broker.url}: Connection refused"
    await broker.start()
    await reader.until(lambda: reader.source._link.lost is None)
    await publish(broker, 10, first=10)
    await reader.arrived(20)
    assert reader.payloads == numbers(0, 20)


async def test_a_broker_that_forgot_the_session_is_subscribed_again(mosquitto, subscribe, publish):
    broker = await mosquitto()  # without persistence
    reader = await subscribe(broker, version="3.1.1")
    reader.start()
    await broker.stop()
    await broker.start()
    await reader.until(lambda: reader.source._link.lost is None)
    assert not reader.source._link.session_present
    await publish(broker, 5)
    await reader.arrived(5)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_retained_messages_come_with_the_first_subscription_only(mosquitto, subscribe, publish, version):
    broker = await mosquitto()
    await publish(broker, [("t/r", "kept")], retain=True)
    reader = await subscribe(broker, version=version)
    reader.start()
    (event,) = await reader.arrived(1)
    assert event["flags"]["retain"]
    reader.source._link.fail("cut")
    await reader.until(lambda: reader.source._link.lost is None)
    await publish(broker, 1)
    await reader.arrived(2)
    assert reader.payloads == ["kept", "0"]


async def test_properties_become_pub_props_and_name_the_client(mosquitto, subscribe, publish):
    broker = await mosquitto()
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("device", "meter-1"), ("x", "y")]
    properties.ContentType = "text/plain"
    for stock in (False, True):
        reader = await subscribe(
            broker, stock=stock, name=f"s{stock}", clientid="payload.id | user_property.device | topic[2]"
        )
        reader.start()
        await publish(broker, [("t/1", b"\xff")], properties=properties)
        await publish(broker, [("t/meter-2", "{}"), ("t/3", '{"id": 7}')])
        events = await reader.arrived(3)
        assert [event["clientid"] for event in events] == ["meter-1", "meter-2", "7"]
        assert [event.key for event in events] == ["meter-1", "meter-2", "7"]
        assert events[0]["pub_props"] == {
            "Content-Type": "text/plain",
            "User-Property": {"device": "meter-1", "x": "y"},
            "User-Property-Pairs": [{"key": "device", "value": "meter-1"}, {"key": "x", "value": "y"}],
        }
        assert events[0]["payload"] == b"\xff"


async def test_not_reading_holds_the_broker_back_in_bounded_memory(mosquitto, subscribe, publish):
    broker = await mosquitto("max_queued_messages 0\nmax_queued_bytes 0")
    reader = await subscribe(broker, buffer="256KB", receive_maximum=65535)
    await publish(broker, [("t/1", b"x" * 5000 + b"%d" % n) for n in range(400)])
    await reader.until(lambda: reader.source._link.incoming.paused)
    held = reader.source._intake.held
    assert 256 << 10 <= held < 512 << 10
    reader.source._link._client._last_bytes_received -= 1000  # as if much time went by
    reader.source._link._tick()
    assert reader.source._link.lost is None
    reader.start()
    await reader.arrived(400)
    assert [payload[5000:] for payload in reader.payloads] == numbers(0, 400)
    assert reader.source._intake.held == 0


async def test_more_messages_waiting_than_the_buffer_holds_do_not_hinder_a_restart(mosquitto, subscribe, publish):
    broker = await mosquitto("max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0")
    options = {"buffer": "64KB", "receive_maximum": 65535, "connect_timeout": "3s"}
    reader = await subscribe(broker, **options)
    await reader.close()
    await publish(broker, [("t/1", b"x" * 5000 + b"%d" % n) for n in range(400)])
    reader = await subscribe(broker, **options)  # the answer to SUBSCRIBE stands behind them
    assert reader.source._link.incoming.paused
    reader.start()
    await reader.arrived(400)
    assert [payload[5000:] for payload in reader.payloads] == numbers(0, 400)
    await publish(broker, [("t/1", "x" * 5000 + "more")])
    await reader.arrived(401)


async def test_receive_maximum_holds_the_broker_back(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker, receive_maximum=5)
    reader.start(settle=False)
    await publish(broker, 50)
    await reader.arrived(5)
    await asyncio.sleep(0.1)
    assert len(reader.events) == 5
    while len(reader.events) < 50:
        settled, reader.unsettled = reader.unsettled, []
        before = len(reader.events)
        for _, settle in settled:
            settle(None)
        await reader.until(lambda before=before: len(reader.events) > before)
    assert reader.payloads == numbers(0, 50)


async def test_the_bulk_reader_knows_this_paho():
    assert unfit() is None


async def test_an_unknown_paho_is_read_as_it_comes(mosquitto, subscribe, publish, caplog):
    broker = await mosquitto()
    reader = await subscribe(broker, stock=True, qos=2)
    reader.start()
    await publish(broker, 10, 2)
    events = await reader.arrived(10)
    assert {event["qos"] for event in events} == {1}
    assert "reading with stock paho" in caplog.text
    assert reader.state[0] == "degraded"
    assert "grants less than QoS 2 for t/# (Granted QoS 1)" in reader.state[1]


async def test_two_filters_that_overlap_bring_a_message_once(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker, filters=("t/1", "t/#", "$events/client_connected"))
    assert reader.source._filters == ("t/#",)
    reader.start()
    await publish(broker, 14)
    await reader.arrived(14)
    assert reader.payloads == numbers(0, 14)


async def test_topics_of_the_config_go_before_those_of_the_rules(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker, topics=["u/+"])
    reader.start()
    await publish(broker, [("t/1", "no"), ("u/1", "yes")])
    await reader.arrived(1)
    assert reader.payloads == ["yes"]


async def test_without_topics_it_runs_and_says_so(mosquitto, subscribe):
    reader = await subscribe(await mosquitto(), filters=())
    assert reader.state[0] == "running"

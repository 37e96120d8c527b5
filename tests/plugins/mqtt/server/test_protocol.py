"""Rough treatment: whatever comes in, the right answer goes out and others are served on."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from headrace_plugins._mqtt.framing import encode_packet, encode_string


async def test_messages_before_a_bad_packet_are_taken(serve, join):
    endpoint = await serve()
    endpoint.start()
    device = await join(endpoint)
    device.send(b"\x30\x04\x00\x01ax" + b"\x00\x00")
    assert await device.packet() == b""
    assert [event["payload"] for event in await endpoint.arrived(1)] == ["x"]


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\x30\x04\x00\x01ax"])
async def test_what_is_no_mqtt_is_closed_without_a_word(serve, dial, sent):
    endpoint = await serve()
    device = await dial(endpoint)
    device.send(sent)
    assert await device.packet() == b""


async def test_connack_says_what_there_is(serve, dial):
    endpoint = await serve(session_expiry="60s", receive_maximum=7)
    device = await dial(endpoint)
    device.connect("", 5, properties={"Session-Expiry-Interval": 3600})
    answer = await device.packet()
    assert answer[:1] + answer[2:4] == b"\x20\x00\x00"
    assert b"\x21\x00\x07" in answer
    assert b"\x27\x00\x10\x00\x00" in answer
    assert b"\x11\x00\x00\x00\x3c" in answer
    assert b"\x12\x00\x15auto-" in answer
    assert b"\x25\x00" in answer  # nothing is retained
    device = await dial(endpoint)
    device.connect("mine", 5)
    assert b"\x12\x00" not in (await device.packet())[4:]  # its own client id is not sent back


async def test_subscriptions_are_refused_in_so_many_words(serve, join):
    endpoint = await serve()
    device = await join(endpoint, "old")
    device.send(b"\x82\x0a\x00\x01\x00\x01a\x01\x00\x01b\x00")
    assert await device.packet() == b"\x90\x04\x00\x01\x80\x80"
    device.send(b"\xa2\x05\x00\x02\x00\x01a")
    assert await device.packet() == b"\xb0\x02\x00\x02"
    device = await join(endpoint, "new", 5)
    device.send(b"\x82\x07\x00\x01\x00\x00\x01a\x01")
    answer = await device.packet()
    assert answer[:1] == b"\x90"
    assert answer[-1] == 0x83
    assert b"sends none" in answer
    device.send(b"\xa2\x06\x00\x02\x00\x00\x01a")
    assert await device.packet() == b"\xb0\x04\x00\x02\x00\x11"


async def test_answers_to_what_was_never_sent_are_ignored(serve, join):
    endpoint = await serve()
    device = await join(endpoint)
    device.send(b"\x40\x02\x00\x09", b"\x50\x02\x00\x09", b"\x70\x02\x00\x09")
    assert await device.quiet()


async def test_properties_and_topic_aliases(serve, join):
    endpoint = await serve(retained="take")
    endpoint.start()
    device = await join(endpoint, version=5)
    pairs = [("a", "1"), ("a", "2"), ("b", "3")]
    device.publish(
        "t/1",
        b"\xff\x00",
        retain=True,
        properties={
            "Topic-Alias": 3,
            "Content-Type": "text/plain",
            "Message-Expiry-Interval": 60,
            "Correlation-Data": b"\x01",
            "User-Property": pairs,
        },
    )
    device.publish("", b"short", properties={"Topic-Alias": 3})
    first, second = await endpoint.arrived(2)
    assert first["pub_props"] == {
        "Content-Type": "text/plain",
        "Message-Expiry-Interval": 60,
        "Correlation-Data": b"\x01",
        "User-Property": {"a": "2", "b": "3"},
        "User-Property-Pairs": [{"key": key, "value": value} for key, value in pairs],
    }
    assert first["payload"] == b"\xff\x00"
    assert first["flags"] == {"retain": True, "dup": False}
    assert (second["topic"], second["payload"], second["pub_props"]) == ("t/1", "short", {})


async def test_random_bytes_never_disturb_others(serve, join, dial, caplog):
    endpoint = await serve()
    endpoint.start()
    steady = await join(endpoint, "steady", keepalive=0)
    rng = random.Random(7)
    valid = [
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01z",
        b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01z",
        encode_packet(0x32, encode_string("t/1"), b"\x00\x01", b"payload"),
        encode_packet(0x35, encode_string("t/1"), b"\x00\x02", b"\x00", b"payload"),
        b"\x62\x02\x00\x02",
        b"\xc0\x00",
        b"\x82\x06\x00\x01\x00\x01a\x00",
        b"\xe0\x00",
    ]
    for _ in range(300):
        data = bytearray(valid[rng.randrange(2)] + b"".join(rng.choices(valid, k=5)))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        device = await dial(endpoint)
        device.send(bytes(data))
        device.writer.write_eof()
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                await device.reader.read()
        device.close()
    steady.publish("t/1", b"still here", qos=1)
    assert await steady.packet() == b"\x40\x02\x00\x01"
    await endpoint.until(lambda: endpoint.counters["connections"] == 1)
    assert endpoint.source.unread == 0
    assert endpoint.source.intake.held == 0
    assert not [record for record in caplog.records if record.name == "asyncio"], "asyncio caught an exception"

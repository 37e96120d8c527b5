"""Memory is bounded, whoever sends what; what is lost to that is counted."""

from __future__ import annotations

import asyncio

import pytest

from headrace_plugins._mqtt.framing import encode_packet, encode_string
from headrace_plugins.mqtt_server.sessions import Sessions


async def test_qos_0_beyond_the_limit_is_dropped_and_counted(serve, join):
    endpoint = await serve(max_pending="16KB")
    device = await join(endpoint)
    for i in range(100):
        device.publish("t/1", b"%d" % i)
    assert await device.quiet()
    dropped = endpoint.counters["dropped.queue_full"]
    batch, ack = await endpoint.source.read()
    ack(None)
    assert len(batch) + dropped == 100
    assert 10 < len(batch) < 20
    device.publish("t/1", b"later")
    batch, ack = await endpoint.source.read()
    assert batch[0]["payload"] == "later"


async def test_qos_1_beyond_the_limit_waits_unread_and_its_keepalive_stands_still(serve, join, monkeypatch):
    endpoint = await serve(max_pending="16KB")
    device = await join(endpoint, keepalive=1)
    for id in range(1, 101):
        device.publish("t/1", b"%d" % id, qos=1, id=id)
    await endpoint.until(lambda: len(endpoint.source.intake.paused) == 1)
    held = endpoint.source.intake.held
    assert held < 20_000
    for _ in range(5):  # as if much time went by
        for conn in endpoint.source._connections:
            conn.seen -= 100
        endpoint.source._sweep()
        await asyncio.sleep(0)
    assert endpoint.source.intake.held == held
    endpoint.start()
    assert [await device.packet() for _ in range(100)] == [b"\x40\x02" + id.to_bytes(2, "big") for id in range(1, 101)]
    assert [event["payload"] for event in endpoint.events] == [str(id) for id in range(1, 101)]
    assert await device.quiet()
    assert endpoint.source.intake.held == 0
    assert "dropped.queue_full" not in endpoint.counters


async def test_all_connections_together_are_bounded_too(serve, join):
    endpoint = await serve(max_buffer="64KB")
    devices = [await join(endpoint, f"dev{i}") for i in range(20)]
    for device in devices:
        for id in range(1, 11):
            device.publish("t/1", qos=1, id=id)
    await endpoint.until(lambda: len(endpoint.source.intake.paused) == 13)
    assert endpoint.source.intake.held < 75_000
    late = await join(endpoint, "late")
    assert await late.quiet(), "who sends nothing that needs room is served"
    late.publish("t/1")
    assert await late.quiet()
    assert endpoint.counters["dropped.queue_full"] == 1
    endpoint.start()
    for device in devices:
        assert len([await device.packet() for _ in range(10)]) == 10
    assert not endpoint.source.intake.paused


async def test_unread_qos_0_of_a_connection_that_is_closed_is_counted(serve, join):
    endpoint = await serve(max_pending="4KB")
    device = await join(endpoint)
    device.send(*(b"\x32\x08\x00\x03t/1\x00" + bytes((id,)) + b"x" + b"\x30\x06\x00\x03t/1x" for id in range(1, 11)))
    await endpoint.until(lambda: endpoint.source.unread > 0)
    await join(endpoint)  # the same client id takes over
    await endpoint.until(lambda: endpoint.counters["connections"] == 1)
    batch, ack = await endpoint.source.read()
    ack(None)
    assert sum(event["qos"] == 0 for event in batch) + endpoint.counters["dropped.queue_full"] == 10
    assert endpoint.source.unread == 0


async def test_a_packet_in_many_small_pieces_is_read_once(serve, join):
    endpoint = await serve()
    endpoint.start()
    device = await join(endpoint)
    body = encode_string("t/1") + b"\x00\x01" + b"y" * 50_000
    packet = encode_packet(0x32, body)
    for i in range(0, len(packet), 997):
        device.send(packet[i : i + 997])
        await asyncio.sleep(0)
    (event,) = await endpoint.arrived(1)
    assert event["payload"] == "y" * 50_000
    assert await device.packet() == b"\x40\x02\x00\x01"
    assert endpoint.source.unread == 0


async def test_packets_in_part_cannot_fill_the_memory(serve, join):
    endpoint = await serve(max_buffer="64KB")
    endpoint.start()
    devices = [await join(endpoint, f"dev{i}", 5) for i in range(4)]
    packet = encode_packet(0x30, encode_string("t/1") + b"\x00" + b"y" * 40_000)
    answers = [asyncio.create_task(device.packet()) for device in devices]
    for device in devices:
        device.send(packet[:30_000])
    await endpoint.until(lambda: endpoint.counters["connections"] == 2)
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    assert endpoint.source.unread == 60_000
    for device, answer in zip(devices, answers, strict=True):
        if not answer.done():
            device.send(packet[30_000:])
            await endpoint.until(lambda: endpoint.source.unread <= 60_000)
            device.send(b"\xc0\x00")
    got = await asyncio.gather(*answers)
    assert sorted(got) == [b"\xd0\x00", b"\xd0\x00", b"\xe0\x01\x97", b"\xe0\x01\x97"]
    assert len(endpoint.events) == 2


async def test_too_many_connections_are_closed_at_once(serve, join, dial):
    endpoint = await serve(max_connections=2)
    await join(endpoint, "a")
    await join(endpoint, "b")
    third = await dial(endpoint)
    assert await third.packet() == b""
    assert endpoint.counters["connections.refused"] == 1
    assert endpoint.counters["connections"] == 2


async def test_connections_of_one_address_are_limited(serve, join, dial):
    endpoint = await serve(
        listeners=[{"listen": "127.0.0.1:0"}, {"listen": "127.0.0.1:0", "proxy_protocol": True}], max_per_address=2
    )
    first = await join(endpoint, "a")
    await join(endpoint, "b")
    third = await dial(endpoint)
    assert await third.packet() == b""
    assert endpoint.counters["connections.refused"] == 1
    endpoint.at = 1
    elsewhere = await dial(endpoint)
    elsewhere.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 1883\r\n")
    elsewhere.connect("c")
    assert await elsewhere.packet() == b"\x20\x02\x00\x00"
    first.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 2)
    endpoint.at = 0
    await join(endpoint, "d")


@pytest.mark.parametrize("version", [4, 5])
async def test_connections_of_one_user_are_limited(serve, join, dial, version):
    endpoint = await serve(max_per_user=2, filters=("$events/client_connack",))
    endpoint.start()
    ann = {"version": version, "user": ("ann", b"")}
    first = await join(endpoint, "a", **ann)
    await join(endpoint, "b", **ann)
    third = await dial(endpoint)
    third.connect("c", **ann)
    assert await third.packet() == (b"\x20\x03\x00\x97\x00" if version == 5 else b"\x20\x02\x00\x03")
    assert await third.packet() == b""
    assert endpoint.counters["connections.refused"] == 1
    await join(endpoint, "b", **ann)  # the same device again, which takes its own place
    await join(endpoint, "d", version=version, user=("ben", b""))
    await join(endpoint, "e", version=version)
    first.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 3)
    await join(endpoint, "c", **ann)
    codes = [event["reason_code"] for event in await endpoint.arrived(7)]
    assert codes[2] == ("quota_exceeded" if version == 5 else "server_unavaliable")
    assert len(set(codes)) == 2


async def test_a_device_that_reads_no_answers_is_cut_off(serve, join):
    endpoint = await serve()
    device = await join(endpoint)
    device.writer.transport.pause_reading()
    for _ in range(400):
        if device.writer.transport.is_closing():
            break
        device.send(b"\xc0\x00" * 20_000)
        await asyncio.sleep(0)
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)


async def test_more_unacknowledged_than_receive_maximum_is_an_error(serve, join):
    endpoint = await serve(receive_maximum=3)
    device = await join(endpoint, version=5)
    for id in range(1, 5):
        device.publish("t/1", qos=1, id=id)
    assert await device.packet() == b"\xe0\x01\x93"
    assert await device.packet() == b""


async def test_more_unreleased_than_receive_maximum_is_an_error(serve, join):
    endpoint = await serve(receive_maximum=3)
    endpoint.start()
    device = await join(endpoint, version=5)
    for id in range(1, 4):
        device.publish("t/1", qos=2, id=id)
        assert await device.packet() == b"\x50\x02" + id.to_bytes(2, "big")
    device.send(b"\x62\x02\x00\x02")
    assert await device.packet() == b"\x70\x02\x00\x02"
    device.publish("t/1", qos=2, id=4)
    assert await device.packet() == b"\x50\x02\x00\x04"
    device.publish("t/1", qos=2, id=5)
    assert await device.packets(2) == [b"\xe0\x01\x93", b""]


async def test_what_devices_say_when_they_connect_cannot_fill_the_memory(serve, join, dial):
    endpoint = await serve(max_buffer="64KB")
    endpoint.start()
    large = {"version": 5, "will": ("w/1", b"x" * 30_000, 0, False, {"Will-Delay-Interval": 600})}
    first = await join(endpoint, "a", **large, properties={"Session-Expiry-Interval": 600})
    await join(endpoint, "b", **large)
    third = await dial(endpoint)
    third.connect("c", **large)
    assert await third.packets(2) == [b"\x20\x03\x00\x97\x00", b""]
    await endpoint.until(lambda: endpoint.source.kept < 64 << 10)
    await join(endpoint, "d")  # small ones have room
    first.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 2)
    fourth = await join(endpoint, "c", **large)
    assert not endpoint.events, "the will of the first waits"
    fourth.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 2)
    for conn in list(endpoint.source._connections):
        conn.close("test")
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    assert endpoint.source.kept == 0


async def test_topics_of_aliases_are_bounded(serve, join):
    endpoint = await serve(topic_aliases=4)
    endpoint.start()
    device = await join(endpoint, version=5)
    for n in range(100):  # set again and again, they take no more
        device.publish("a/" + "x" * 240, properties={"Topic-Alias": n % 4 + 1})
    await endpoint.arrived(100)
    device.publish("b/" + "x" * 400, properties={"Topic-Alias": 1})
    assert await device.packets(2) == [b"\xe0\x01\x97", b""]


def test_wills_that_wait_are_bounded():
    now, told = 1000.0, []
    sessions = Sessions(10, 100, lambda: now)
    for n, size in enumerate((60, 60, 40)):
        session, _ = sessions.enter(f"d{n}", clean=False)
        session.expiry = 600
        sessions.will(session, 300, size, lambda n=n: told.append(n))
        sessions.leave(session)
    assert told == [1], "there was no room for it to wait"
    sessions.enter("d0", clean=False)
    now += 301
    sessions.sweep()
    assert told == [1, 2], "the first came back"
    session, _ = sessions.enter("d3", clean=False)
    sessions.will(session, 300, 100, lambda: told.append(3))
    assert told == [1, 2], "there is room again"


def test_sessions_that_are_away_are_capped_and_expire():
    now = 1000.0
    sessions = Sessions(2, 1000, lambda: now)
    for clientid in ("a", "b", "c"):
        session, present = sessions.enter(clientid, clean=False)
        assert not present
        session.expiry = 60
        sessions.leave(session)
    assert [sessions.get(clientid) is not None for clientid in ("a", "b", "c")] == [False, True, True]
    now += 59
    sessions.sweep()
    session, present = sessions.enter("b", clean=False)
    assert present
    now += 2
    sessions.sweep()
    assert sessions.get("b") is session
    assert sessions.get("c") is None

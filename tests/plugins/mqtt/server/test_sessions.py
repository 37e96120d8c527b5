"""Connections come and go: takeover, keepalive, wills, and the events that tell of it."""

from __future__ import annotations

import asyncio

import pytest

from headrace import passwords

CLIENTS = ("$events/client_connected", "$events/client_disconnected")


def ages(endpoint, seconds):
    """As if that much time went by without a packet."""
    for conn in endpoint.source._connections:
        conn.seen -= seconds
    endpoint.source._sweep()


async def test_client_events_tell_who_came_and_went(serve, join):
    endpoint = await serve(filters=CLIENTS)
    endpoint.start()
    device = await join(endpoint, "dev1", 5, keepalive=30, properties={"Receive-Maximum": 9})
    device.send(b"\xe0\x00")
    connected, disconnected = await endpoint.arrived(2)
    common = {
        "clientid": "dev1",
        "peerhost": "127.0.0.1",
        "peername": connected["peername"],
        "sockname": f"127.0.0.1:{endpoint.port}",
        "proto_name": "MQTT",
        "proto_ver": 5,
        "node": connected["node"],
        "connected_at": connected["connected_at"],
    }
    assert connected.columns == common | {
        "event": "client.connected",
        "id": connected.id,
        "keepalive": 30,
        "clean_start": True,
        "receive_maximum": 9,
        "expiry_interval": 0,
        "is_bridge": False,
        "conn_props": {"Receive-Maximum": 9},
        "timestamp": connected.timestamp,
    }
    assert disconnected.columns == common | {
        "event": "client.disconnected",
        "id": disconnected.id,
        "reason": "normal",
        "disconn_props": {},
        "disconnected_at": disconnected["disconnected_at"],
        "timestamp": disconnected.timestamp,
    }
    assert connected.key == disconnected.key == "dev1"


async def test_client_events_nobody_reads_are_not_made(serve, join):
    endpoint = await serve(filters=("t/#",))
    endpoint.start()
    device = await join(endpoint)
    device.publish("t/1")
    device.send(b"\xe0\x00")
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    assert [event["event"] for event in endpoint.events] == ["message.publish"]


async def test_a_cut_connection_is_told_apart_from_a_goodbye(serve, join):
    endpoint = await serve(filters=CLIENTS)
    endpoint.start()
    device = await join(endpoint)
    device.close()
    assert (await endpoint.arrived(2))[1]["reason"] == "tcp_closed"


@pytest.mark.parametrize("version", [4, 5])
async def test_takeover_closes_the_older_connection(serve, join, version):
    endpoint = await serve(filters=CLIENTS)
    endpoint.start()
    old = await join(endpoint, version=version, will=("w/1", b"gone", 0, False, {}))
    new = await join(endpoint, version=version)
    if version == 5:
        assert await old.packet() == b"\xe0\x01\x8e"
    assert await old.packet() == b""
    assert await new.quiet()
    events = await endpoint.arrived(4)
    assert [event["event"] for event in events] == [
        "client.connected",
        "client.disconnected",
        "message.publish",
        "client.connected",
    ]
    assert events[1]["reason"] == "takenover"


@pytest.mark.parametrize("version", [4, 5])
async def test_of_many_that_come_at_once_under_one_client_id_one_stays(serve, dial, tmp_path, version):
    users = tmp_path / "users"
    users.write_text(
        "ann:" + passwords.hash_password(b"secret") + "\n"
    )  # checked in a thread, so they wait side by side
    endpoint = await serve(filters=(*CLIENTS, "t/#", "w/#"), users=users)
    endpoint.start()
    devices = [await dial(endpoint) for _ in range(12)]
    for n, device in enumerate(devices):
        will = ("w/1", b"gone", 0, False, {})
        device.connect("same", version, clean=n % 2 == 0, user=("ann", b"secret"), will=will)
        device.publish("t/1", b"%d" % n, qos=2 if n % 3 else 1, id=1)

    def came() -> int:
        return sum(event["event"] == "client.connected" for event in endpoint.events)

    await endpoint.until(lambda: came() == 12 and endpoint.counters["connections"] == 1)
    (last,) = endpoint.source._connections
    names = [event["event"] for event in endpoint.events if event["event"] != "message.publish"]
    assert names == ["client.connected", "client.disconnected"] * (len(names) // 2) + ["client.connected"]
    reasons = {event["reason"] for event in endpoint.events if event["event"] == "client.disconnected"}
    assert reasons <= {"takenover"}
    wills = sum(event.get("topic") == "w/1" for event in endpoint.events)
    assert wills == len(names) // 2, "each that was thrown out leaves its will"
    assert endpoint.source.sessions.get("same").conn is last
    assert endpoint.source.unread == 0
    assert endpoint.source.intake.held == 0


@pytest.mark.parametrize("version", [4, 5])
async def test_silence_beyond_the_keepalive_ends_a_connection(serve, join, version):
    endpoint = await serve(filters=CLIENTS)
    endpoint.start()
    device = await join(endpoint, version=version, keepalive=10)
    ages(endpoint, 14)
    assert await device.quiet()
    ages(endpoint, 16)
    if version == 5:
        assert await device.packet() == b"\xe0\x01\x8d"
    assert await device.packet() == b""
    assert (await endpoint.arrived(2))[1]["reason"] == "keepalive_timeout"


async def test_part_of_a_packet_is_no_sign_of_life(serve, join):
    endpoint = await serve()
    device = await join(endpoint, keepalive=10)
    ages(endpoint, 10)
    device.send(b"\x32\x80")
    await endpoint.until(lambda: endpoint.source.unread == 2)
    ages(endpoint, 6)
    assert await device.packet() == b""


async def test_without_keepalive_silence_is_no_matter(serve, join):
    endpoint = await serve()
    device = await join(endpoint, keepalive=0)
    ages(endpoint, 100_000)
    assert await device.quiet()


async def test_who_says_nothing_is_closed(serve, dial):
    endpoint = await serve(connect_timeout="5s")
    device = await dial(endpoint)
    await endpoint.until(lambda: endpoint.counters["connections"] == 1)
    ages(endpoint, 6)
    assert await device.packet() == b""


async def test_a_will_is_published_when_the_device_dies(serve, join):
    endpoint = await serve(retained="take")
    endpoint.start()
    device = await join(endpoint, version=5, will=("w/1", b"gone", 1, True, {"Content-Type": "text/plain"}))
    device.close()
    (event,) = await endpoint.arrived(1)
    assert (event["event"], event["topic"], event["payload"], event["qos"]) == ("message.publish", "w/1", "gone", 1)
    assert event["flags"] == {"retain": True, "dup": False}
    assert event["pub_props"] == {"Content-Type": "text/plain"}
    assert event["clientid"] == event.key == "dev1"


async def test_a_goodbye_takes_the_will_away_unless_it_asks_for_it(serve, join):
    endpoint = await serve()
    endpoint.start()
    device = await join(endpoint, "a", 5, will=("w/a", b"gone", 0, False, {}))
    device.send(b"\xe0\x00")
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    device = await join(endpoint, "b", 5, will=("w/b", b"gone", 0, False, {}))
    device.send(b"\xe0\x02\x04\x00")
    assert [event["topic"] for event in await endpoint.arrived(1)] == ["w/b"]


async def test_a_delayed_will_waits_and_a_return_cancels_it(serve, join):
    endpoint = await serve()
    endpoint.start()
    options = {
        "version": 5,
        "clean": False,
        "properties": {"Session-Expiry-Interval": 600},
        "will": ("w/1", b"gone", 0, False, {"Will-Delay-Interval": 60}),
    }
    device = await join(endpoint, **options)
    device.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    device = await join(endpoint, **options, present=True)
    device.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    endpoint.source._sweep()
    sessions = endpoint.source.sessions
    (session,) = sessions._wills
    assert not endpoint.events
    sessions._wills[session] = (0, *sessions._wills[session][1:])
    endpoint.source._sweep()
    assert [event["payload"] for event in await endpoint.arrived(1)] == ["gone"]


async def test_the_end_of_a_session_publishes_a_delayed_will_at_once(serve, join):
    endpoint = await serve()
    endpoint.start()
    device = await join(
        endpoint,
        version=5,
        properties={"Session-Expiry-Interval": 600},
        will=("w/1", b"gone", 0, False, {"Will-Delay-Interval": 60}),
    )
    device.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    await join(endpoint, version=5, clean=True)
    assert [event["payload"] for event in await endpoint.arrived(1)] == ["gone"]


async def test_a_goodbye_can_change_how_long_the_session_lives(serve, join):
    endpoint = await serve()
    device = await join(endpoint, version=5, properties={"Session-Expiry-Interval": 600})
    device.send(b"\xe0\x07\x00\x05\x11\x00\x00\x00\x00")
    assert await device.packet() == b""
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    assert endpoint.source.sessions.get("dev1") is None
    device = await join(endpoint, version=5)
    device.send(b"\xe0\x07\x00\x05\x11\x00\x00\x00\x09")
    assert await device.packets(2) == [b"\xe0\x01\x82", b""]


async def test_closing_the_source_says_so_and_counts_what_is_lost(serve, join):
    endpoint = await serve()
    device = await join(endpoint, version=5, will=("w/1", b"gone", 0, False, {}))
    device.publish("t/1")
    device.publish("t/1", qos=1)
    assert await device.quiet()
    port = endpoint.port
    await endpoint.source.close()
    assert await device.packets(2) == [b"\xe0\x01\x8b", b""]
    assert endpoint.counters["dropped.shutdown"] == 1
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)

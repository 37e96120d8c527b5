"""When a message is acknowledged, and what happens while it is not."""

from __future__ import annotations

import asyncio

import pytest


def puback(*ids: int) -> list[bytes]:
    return [b"\x40\x02" + id.to_bytes(2, "big") for id in ids]


def pubrec(*ids: int) -> list[bytes]:
    return [b"\x50\x02" + id.to_bytes(2, "big") for id in ids]


async def test_nothing_is_acknowledged_before_the_engine_has_it_and_pings_are_answered(serve, join):
    endpoint = await serve()
    endpoint.start(settle=False)
    device = await join(endpoint)
    device.publish("t/1", qos=1, id=7)
    device.publish("t/1", qos=2, id=8)
    await endpoint.arrived(2)
    assert await device.quiet()
    for _, ack in endpoint.unsettled:
        ack(None)
    assert await device.packets(2) == puback(7) + pubrec(8)


async def test_acks_go_out_in_the_order_the_messages_came(serve, join):
    endpoint = await serve()
    endpoint.start(settle=False)
    device = await join(endpoint)
    for id in (1, 2, 3):
        device.publish("t/1", qos=1, id=id)
        await endpoint.arrived(id)
    first, second, third = (ack for _, ack in endpoint.unsettled)
    third(None)
    second(None)
    assert await device.quiet()
    first(None)
    assert await device.packets(3) == puback(1, 2, 3)


@pytest.mark.parametrize("version", [4, 5])
async def test_a_refused_batch_closes_the_connection_unacknowledged(serve, join, version):
    endpoint = await serve()
    endpoint.start(settle=False)
    device = await join(endpoint, version=version)
    device.publish("t/1", qos=1, id=1)
    await endpoint.arrived(1)
    device.publish("t/1", qos=1, id=2)
    await endpoint.arrived(2)
    (_, first), (_, second) = endpoint.unsettled
    first(RuntimeError("the disk is full"))
    second(None)  # too late: the device sends both again
    if version == 5:
        assert await device.packet() == b"\xe0\x01\x97"
    assert await device.packet() == b""


async def test_a_refused_qos_0_message_leaves_the_connection(serve, join):
    endpoint = await serve()
    endpoint.start(settle=False)
    device = await join(endpoint)
    device.publish("t/1")
    await endpoint.arrived(1)
    endpoint.unsettled[0][1](RuntimeError("the disk is full"))
    assert await device.quiet()


async def test_acks_after_the_end_of_a_connection_do_no_harm(serve, join):
    endpoint = await serve()
    endpoint.start(settle=False)
    device = await join(endpoint)
    device.publish("t/1", qos=1)
    await endpoint.arrived(1)
    device.close()
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    endpoint.unsettled[0][1](None)
    assert endpoint.source.intake.held == 0


async def test_a_cancelled_read_loses_nothing(serve, join):
    endpoint = await serve()
    device = await join(endpoint)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await endpoint.source.read()
    device.publish("t/1", qos=1)
    batch, ack = await endpoint.source.read()
    assert len(batch) == 1
    ack(None)
    assert await device.packet() == puback(1)[0]


async def test_one_read_gives_what_all_devices_sent_but_no_more_than_a_batch(serve, join):
    endpoint = await serve()
    devices = [await join(endpoint, f"dev{i}") for i in range(3)]
    for n, device in enumerate(devices):
        for id in range(1, 151):
            device.publish(f"t/{n}", qos=1, id=id)
        assert await device.quiet()
    sizes, acks = [], []
    while sum(sizes) < 450:
        batch, ack = await endpoint.source.read()
        sizes.append(len(batch))
        acks.append(ack)
    assert max(sizes) <= 256
    for ack in acks:
        ack(None)
    for device in devices:
        assert await device.packets(150) == puback(*range(1, 151))


async def test_qos_2_sent_again_after_a_cut_is_one_event(serve, join):
    endpoint = await serve()
    endpoint.start()
    device = await join(endpoint, clean=False)
    device.publish("t/1", qos=2, id=5)
    assert await device.packet() == pubrec(5)[0]
    device.close()
    device = await join(endpoint, clean=False, present=True)
    device.publish("t/1", qos=2, id=5, dup=True)
    assert await device.packet() == pubrec(5)[0]
    device.send(b"\x62\x02\x00\x05")
    assert await device.packet() == b"\x70\x02\x00\x05"
    device.publish("t/1", b"next", qos=2, id=5)
    await endpoint.arrived(2)
    assert [event["payload"] for event in endpoint.events] == ["x", "next"]


@pytest.mark.parametrize("error", [None, RuntimeError("full")])
async def test_qos_2_sent_again_while_the_first_is_unsettled_shares_its_outcome(serve, join, error):
    endpoint = await serve()
    endpoint.start(settle=False)
    device = await join(endpoint, clean=False)
    device.publish("t/1", qos=2, id=5)
    await endpoint.arrived(1)
    device = await join(endpoint, clean=False, present=True)  # takes the old connection over
    device.publish("t/1", qos=2, id=5, dup=True)
    device.publish("t/1", qos=1, id=6)
    await endpoint.arrived(2)
    first, second = (ack for _, ack in endpoint.unsettled)
    second(None)
    assert await device.quiet(), "the answers keep their order"
    first(error)
    if error is None:
        assert await device.packets(2) == pubrec(5) + puback(6)
        assert len(endpoint.events) == 2
    else:
        assert await device.packet() == b""
        device = await join(endpoint, clean=False, present=True)
        device.publish("t/1", qos=2, id=5, dup=True)
        await endpoint.arrived(3)


async def test_a_clean_start_forgets_qos_2_ids(serve, join):
    endpoint = await serve()
    endpoint.start()
    device = await join(endpoint, clean=False)
    device.publish("t/1", qos=2, id=5)
    assert await device.packet() == pubrec(5)[0]
    device = await join(endpoint, clean=True)
    device.publish("t/1", qos=2, id=5)
    await endpoint.arrived(2)


async def test_a_release_of_an_unknown_id_is_answered(serve, join):
    endpoint = await serve()
    device = await join(endpoint)
    device.send(b"\x62\x02\x00\x09")
    assert await device.packet() == b"\x70\x02\x00\x09"
    device = await join(endpoint, "dev5", 5)
    device.send(b"\x62\x02\x00\x09")
    assert await device.packet() == b"\x70\x03\x00\x09\x92"

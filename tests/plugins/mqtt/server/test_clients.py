"""Real clients, as devices use them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest

from headrace import UNDEFINED


@contextmanager
def device(port: int, version: int, clientid: str = "dev1") -> Iterator[paho.Client]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=clientid, protocol=version)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def publish(port: int, version: int, qos: int, n: int) -> int:
    with device(port, version) as client:
        sent = [client.publish("t/1", f'{{"n": {i}}}', qos) for i in range(n)]
        for info in sent:
            info.wait_for_publish(10)
        return sum(info.is_published() for info in sent)


@pytest.mark.parametrize("version", [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_version_and_qos_arrives_once_in_order(serve, version, qos):
    endpoint = await serve()
    endpoint.start()
    assert await asyncio.to_thread(publish, endpoint.port, version, qos, 100) == 100
    events = await endpoint.arrived(100)
    assert [event["payload"] for event in events] == [f'{{"n": {i}}}' for i in range(100)]
    assert len({event.id for event in events}) == 100
    event = events[0]
    assert event.columns == {
        "event": "message.publish",
        "id": event.id,
        "clientid": "dev1",
        "username": UNDEFINED,
        "topic": "t/1",
        "payload": '{"n": 0}',
        "qos": qos,
        "flags": {"retain": False, "dup": False},
        "peerhost": "127.0.0.1",
        "peername": event["peername"],
        "pub_props": {},
        "publish_received_at": event.timestamp,
        "timestamp": event.timestamp,
        "node": event["node"],
    }
    assert event["peername"].startswith("127.0.0.1:")
    assert event.key == "dev1"

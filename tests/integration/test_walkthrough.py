"""The walk-through: a message published over MQTT comes out at an HTTP server, with and without a broker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rig import mosquitto_pub, until

WALK: dict[str, Any] = {
    "rules": {"my_rule": {"sql": 'SELECT * FROM "t/#"', "to": "my_sink"}},
    "sinks": {"my_sink": {"type": "http", "connector": "my_httpserver", "method": "POST", "path": "/"}},
}
MESSAGE = '{ "msg": "hello HTTP Server" }'


def config(receiver: Any, sources: dict[str, Any], **sink: Any) -> dict[str, Any]:
    made = json.loads(json.dumps(WALK))
    made["connectors"] = {"my_httpserver": {"type": "http", "url": receiver.url}}
    made["sources"] = sources
    made["sinks"]["my_sink"].update(sink)
    return made  # type: ignore[no-any-return]


async def publish(port: int, topic: str = "t/1") -> None:
    await mosquitto_pub(port, topic, MESSAGE)


@pytest.mark.mosquitto
async def test_with_a_broker(headrace: Any, mosquitto: Any, receiver: Any) -> None:
    broker = await mosquitto()
    h = headrace(config(receiver, {"plant": {"type": "mqtt", "url": broker.url}}))
    await h.start()
    await publish(broker.port)
    await receiver.got(1)
    (event,) = receiver.json()
    assert (event["topic"], event["payload"], event["event"]) == ("t/1", MESSAGE, "message.publish")
    assert receiver.headers[0]["content-type"] == "application/json"
    status = await h.until(lambda s: s["sinks"]["my_sink"]["counters"]["success"] == 1)
    rule, sink = (status[kind][name]["counters"] for kind, name in (("rules", "my_rule"), ("sinks", "my_sink")))
    assert (rule["matched"], rule["passed"], rule["actions.success"]) == (1, 1, 1)
    assert (sink["matched"], sink["success"]) == (1, 1)
    await publish(broker.port, "x/1")
    await publish(broker.port, "t/2")
    await receiver.got(2)
    assert [e["topic"] for e in receiver.json()] == ["t/1", "t/2"]
    assert await h.stop() == 0


@pytest.mark.mosquitto
async def test_with_a_body_template(headrace: Any, mosquitto: Any, receiver: Any) -> None:
    broker = await mosquitto()
    h = headrace(config(receiver, {"plant": {"type": "mqtt", "url": broker.url}}, body="${payload.msg}"))
    await h.start()
    await publish(broker.port)
    await receiver.got(1)
    assert receiver.bodies == [b"hello HTTP Server"]


async def test_without_a_broker_with_client_events(headrace: Any, receiver: Any, free_port: int) -> None:
    made = config(receiver, {"direct": {"type": "mqtt_server", "listen": f"127.0.0.1:{free_port}"}})
    made["rules"]["presence"] = {
        "sql": 'SELECT event, clientid FROM "$events/client_connected", "$events/client/disconnected"',
        "to": "presence",
    }
    made["sinks"]["presence"] = {"type": "http", "url": receiver.url, "path": "/presence"}
    h = headrace(made)
    await h.start()
    await publish(free_port)
    await receiver.got(3)
    presence = [json.loads(b) for b, t in zip(receiver.bodies, receiver.targets, strict=True) if t == "/presence"]
    assert presence == [
        {"event": "client.connected", "clientid": "emqx_c"},
        {"event": "client.disconnected", "clientid": "emqx_c"},
    ]
    (message,) = [json.loads(b) for b, t in zip(receiver.bodies, receiver.targets, strict=True) if t == "/"]
    assert (message["clientid"], message["payload"]) == ("emqx_c", MESSAGE)
    assert await h.stop() == 0


async def test_a_peer_that_is_away_does_not_stop_the_start(headrace: Any, receiver: Any, free_port: int) -> None:
    await receiver.stop()
    sources = {
        "direct": {"type": "mqtt_server", "listen": f"127.0.0.1:{free_port}"},
        "away": {"type": "mqtt", "url": "mqtt://127.0.0.1:1"},
    }
    h = headrace(config(receiver, sources))
    await h.start(wait=False)
    await until(h.socket.exists)
    status = await h.until(lambda s: s["sources"]["away"]["state"] == "connecting" and s["sources"]["away"]["reason"])
    assert status["state"] == "degraded"
    await publish(free_port)
    await h.until(lambda s: s["sinks"]["my_sink"]["state"] == "degraded")
    await receiver.start()
    await receiver.got(1)
    await h.until(lambda s: s["sinks"]["my_sink"]["state"] == "running")

"""Events of clients beside coming and going: attempts, verdicts, refusals, messages that are gone."""

from __future__ import annotations

import pytest

from headrace import passwords
from headrace_plugins._mqtt.clientevents import wanted

SUBSCRIBE = b"\x82\x08\x00\x01\x00\x03a/b\x01"


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"alice:{passwords.hash_password('secret')}\n")
    return path


@pytest.mark.parametrize("name", ["$events/client_connack", "$events/client/connack", "$events/client/+", "$events/#"])
def test_both_spellings_and_wildcards_ask_for_an_event(name):
    assert "client.connack" in wanted(("t/#", name))


def test_topics_ask_for_no_event():
    assert wanted(("#", "t/+", "$events/client_disconnected")) == {"client.disconnected"}


@pytest.mark.parametrize(("version", "code"), [(3, "connection_accepted"), (4, "connection_accepted"), (5, "success")])
async def test_a_connect_that_is_let_in_has_its_connack(serve, join, version, code):
    endpoint = await serve(filters=("$events/client/connack", "$events/client_connected"))
    endpoint.start()
    await join(endpoint, "dev1", version, keepalive=7)
    connack, connected = await endpoint.arrived(2)
    assert connack.columns == {
        "event": "client.connack",
        "id": connack.id,
        "clientid": "dev1",
        "reason_code": code,
        "peerhost": "127.0.0.1",
        "peername": connected["peername"],
        "sockname": f"127.0.0.1:{endpoint.port}",
        "proto_name": "MQIsdp" if version == 3 else "MQTT",
        "proto_ver": version,
        "keepalive": 7,
        "clean_start": True,
        "expiry_interval": 0,
        "conn_props": {},
        "timestamp": connack.timestamp,
        "node": connected["node"],
    }
    assert connected["event"] == "client.connected"


@pytest.mark.parametrize(("version", "code"), [(4, "unauthorized_client"), (5, "bad_username_or_password")])
async def test_a_wrong_password_is_told_twice_and_nobody_comes(serve, dial, users, version, code):
    endpoint = await serve(users=users, filters=("$events/#",))
    endpoint.start()
    device = await dial(endpoint)
    device.connect(version=version, user=("alice", b"wrong"))
    assert (await device.packet())[:1] == b"\x20"
    assert await device.packet() == b""
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    authn, connack = await endpoint.arrived(2)
    assert len(endpoint.events) == 2
    assert authn["event"] == "client.check_authn_complete"
    assert (authn["clientid"], authn["username"]) == ("dev1", "alice")
    assert authn["reason_code"] == "bad_username_or_password"
    assert authn["is_anonymous"] is authn["is_superuser"] is False
    assert (connack["event"], connack["reason_code"]) == ("client.connack", code)
    assert b"wrong" not in repr([authn.columns, connack.columns]).encode()


async def test_a_client_without_a_name_that_wants_a_session_is_told(serve, dial):
    endpoint = await serve(filters=("$events/client_connack",))
    endpoint.start()
    device = await dial(endpoint)
    device.connect("", 4, clean=False)
    assert await device.packets(2) == [b"\x20\x02\x00\x02", b""]
    (connack,) = await endpoint.arrived(1)
    assert (connack["clientid"], connack["reason_code"]) == ("", "client_identifier_not_valid")
    assert connack.key == connack["peername"]


async def test_a_refused_subscription_is_an_authorization_denied(serve, join):
    endpoint = await serve(filters=("$events/auth/+", "$events/session/+"))
    endpoint.start()
    device = await join(endpoint, "dev1")
    device.send(SUBSCRIBE)
    assert await device.packet() == b"\x90\x03\x00\x01\x80"
    authn, authz = await endpoint.arrived(2)
    assert authn["event"] == "client.check_authn_complete"
    assert (authn["reason_code"], authn["is_anonymous"]) == ("success", True)
    assert authz["event"] == "client.check_authz_complete"
    told = {name: authz[name] for name in ("clientid", "topic", "action", "result", "authz_source")}
    assert told == {
        "clientid": "dev1",
        "topic": "a/b",
        "action": "subscribe",
        "result": "deny",
        "authz_source": "default",
    }
    assert await device.quiet()
    assert len(endpoint.events) == 2


async def test_a_message_that_is_dropped_is_told_within_bounds(serve, join):
    endpoint = await serve(filters=("t/#", "$events/message_dropped"), max_pending="16KB")
    device = await join(endpoint, "dev1")
    for i in range(100):
        device.publish("t/1", b"%d" % i)
    assert await device.quiet()
    dropped = endpoint.counters["dropped.queue_full"]
    assert 70 < dropped < 100
    assert endpoint.source.intake.held < 2 * 16384 + 2048
    endpoint.start()
    await endpoint.until(lambda: not endpoint.source.intake.held)
    told = [event for event in endpoint.events if event["event"] == "message.dropped"]
    assert 10 < len(told) < dropped
    first = told[0]
    assert (first["reason"], first["topic"], first["clientid"]) == ("queue_full", "t/1", "dev1")
    assert first["payload"] == str(len([e for e in endpoint.events if e["event"] == "message.publish"]))

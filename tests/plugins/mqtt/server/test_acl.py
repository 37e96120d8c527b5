"""Which topics a device may publish to, and how fast it may."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from headrace_plugins.mqtt_server.acl import REMEMBER, rights_of
from headrace_plugins.mqtt_server.config import AclRule
from headrace_plugins.mqtt_server.rates import Rate
from headrace_plugins.mqtt_server.source import MqttServer

RULES = [
    {"user": "admin", "allow": ["#"]},
    {"deny": ["devices/${clientid}/secret"], "allow": ["devices/${clientid}/#", "users/${username}/+"]},
    {"clientid": "special", "allow": ["special/#"]},
]


@pytest.mark.parametrize(
    ("clientid", "username", "topic", "allowed"),
    [
        ("dev1", None, "devices/dev1/temp", True),
        ("dev1", None, "devices/dev1", True),
        ("dev1", None, "devices/dev2/temp", False),
        ("dev1", None, "devices/dev1/secret", False),
        ("dev1", "bob", "users/bob/x", True),
        ("dev1", "bob", "users/bob/x/y", False),
        ("dev1", None, "users//x", False),
        ("dev1", "admin", "anything/at/all", True),
        ("special", None, "special/1", True),
        ("dev1", None, "special/1", False),
        ("+", None, "devices/dev1/temp", False),
        ("#", None, "devices/dev1/temp", False),
        ("a/#", None, "devices/a/b", False),
        ("a/b", None, "devices/a/b/c", False),
        ("dev1", "+", "users/bob/x", False),
    ],
)
def test_the_first_filter_that_matches_decides(clientid, username, topic, allowed):
    rights = rights_of([AclRule.model_validate(rule) for rule in RULES], clientid, username)
    assert rights[topic] is allowed
    assert rights[topic] is allowed


def test_rights_remember_a_few_topics_only():
    rights = rights_of([AclRule(allow=("#",))], "dev1", None)
    for n in range(1000):
        assert rights[f"t/{n}"]
    assert len(rights) <= REMEMBER


@pytest.mark.parametrize(("filter", "why"), [("a/#/b", "last one"), ("a/${device}", "only"), ("", "empty")])
def test_a_filter_must_be_one(filter, why):
    with pytest.raises(ValidationError, match=why):
        MqttServer.Config(acl=[{"allow": [filter]}])


ACL = {"acl": [{"allow": ["ok/#"]}]}


async def test_mqtt_5_is_told_what_it_may_not_send(serve, join):
    endpoint = await serve(**ACL, filters=("#", "$events/client_check_authz_complete"))
    endpoint.start(settle=False)
    device = await join(endpoint, version=5)
    device.publish("ok/1", qos=1, id=1)
    device.publish("no/1", qos=1, id=2)
    device.publish("no/1", qos=2, id=3)
    device.publish("no/1", qos=0)
    assert await device.quiet(), "answers keep the order of the messages"
    await endpoint.until(lambda: len(endpoint.events) == 5)
    for _, ack in endpoint.unsettled:
        ack(None)
    assert await device.packets(3) == [b"\x40\x02\x00\x01", b"\x40\x03\x00\x02\x87", b"\x50\x03\x00\x03\x87"]
    assert endpoint.counters["dropped.not_authorized"] == 3
    told = [event for event in endpoint.events if event["event"] == "client.check_authz_complete"]
    assert [(event["action"], event["topic"], event["result"], event["authz_source"]) for event in told] == [
        ("publish", "ok/1", "allow", "acl"),
        *[("publish", "no/1", "deny", "acl")] * 3,
    ]


async def test_who_may_send_is_told_once_a_topic_also_in_the_middle_of_a_read(serve, join):
    endpoint = await serve(**ACL, filters=("#", "$events/client_check_authz_complete"))
    endpoint.start()
    device = await join(endpoint)
    for n in range(60):
        device.publish(f"ok/{n % 3}", b"%d" % n, qos=1, id=n + 1)
    assert await device.packets(60) == [b"\x40\x02\x00" + bytes((n + 1,)) for n in range(60)]
    events = await endpoint.arrived(63)
    told = [event["topic"] for event in events if event["event"] == "client.check_authz_complete"]
    assert told == ["ok/0", "ok/1", "ok/2"]
    assert [event["payload"] for event in events if event["event"] == "message.publish"] == [str(n) for n in range(60)]


async def test_topics_too_long_to_remember_are_judged_each_time(serve, join):
    endpoint = await serve(acl=[{"allow": ["ok/#"]}])
    endpoint.start()
    device = await join(endpoint)
    for name in ("ok/", "no/", "ok/", "no/"):
        device.publish(name + "x" * 60_000)
    assert await device.quiet()
    await endpoint.arrived(2)
    assert endpoint.counters["dropped.not_authorized"] == 2
    (conn,) = endpoint.source._connections
    assert not conn._rights


async def test_3_1_1_has_no_word_for_it(serve, join):
    endpoint = await serve(**ACL)
    endpoint.start()
    device = await join(endpoint)
    device.publish("no/1", qos=1, id=1)
    device.publish("no/1", qos=2, id=2)
    device.publish("ok/1", qos=2, id=3)
    device.send(b"\x62\x02\x00\x02")
    answers = await device.packets(4)
    assert sorted(answers) == sorted(
        [b"\x40\x02\x00\x01", b"\x50\x02\x00\x02", b"\x50\x02\x00\x03", b"\x70\x02\x00\x02"]
    )
    assert [event["topic"] for event in await endpoint.arrived(1)] == ["ok/1"]
    assert endpoint.counters["dropped.not_authorized"] == 2


async def test_answers_nobody_waits_for_are_bounded(serve, join):
    endpoint = await serve(**ACL)
    device = await join(endpoint)
    device.publish("ok/1", qos=1)  # never settled
    for _ in range(70):
        device.send(b"\x32\x08\x00\x04no/1\x00\x01" * 1000)
    assert await device.packet() == b""
    assert endpoint.counters["connections.protocol_error"] == 1


@pytest.mark.parametrize("version", [4, 5])
async def test_a_will_it_may_not_publish_is_refused_at_once(serve, dial, join, version):
    endpoint = await serve(**ACL)
    device = await dial(endpoint)
    device.connect(version=version, will=("no/1", b"x", 0, False, {}))
    assert await device.packet() == (b"\x20\x03\x00\x87\x00" if version == 5 else b"\x20\x02\x00\x05")
    await join(endpoint, version=version, will=("ok/1", b"x", 0, False, {}))


async def test_a_topic_behind_an_alias_is_checked_too(serve, join):
    endpoint = await serve(**ACL)
    endpoint.start()
    device = await join(endpoint, version=5)
    device.publish("no/1", properties={"Topic-Alias": 1})
    device.publish("", properties={"Topic-Alias": 1})
    device.publish("ok/1", properties={"Topic-Alias": 1})
    device.publish("", properties={"Topic-Alias": 1})
    assert [event["topic"] for event in await endpoint.arrived(2)] == ["ok/1", "ok/1"]
    assert endpoint.counters["dropped.not_authorized"] == 2


# -- rates -----------------------------------------------------------------------------------------------------


def test_a_rate_lets_through_as_many_at_once_and_then_as_many_a_second():
    rate = Rate(10, 100.0)
    assert [rate.takes(100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [rate.takes(100.55) for _ in range(6)] == [True] * 5 + [False]
    assert [rate.takes(200.0) for _ in range(11)] == [True] * 10 + [False]


@pytest.mark.parametrize("version", [4, 5])
async def test_connections_beyond_the_rate_are_told_to_come_again(serve, join, dial, version, monkeypatch):
    endpoint = await serve(connect_rate=2)
    monkeypatch.setattr("headrace_plugins.mqtt_server.source.time.monotonic", lambda: 1e9)
    await join(endpoint, "a", version)
    await join(endpoint, "b", version)
    device = await dial(endpoint)
    device.connect("c", version)
    assert await device.packet() == (b"\x20\x03\x00\x9f\x00" if version == 5 else b"\x20\x02\x00\x03")
    assert endpoint.counters["connections.rate_limited"] == 1


async def test_a_device_that_sends_too_fast_is_read_more_slowly_and_loses_nothing(serve, join):
    endpoint = await serve(client_rate=10)
    endpoint.start()
    device, other = await join(endpoint, "fast"), await join(endpoint, "other")
    device.send(*(b"\x32\x08\x00\x03t/1\x00" + bytes((id,)) + b"x" for id in range(1, 36)))
    await endpoint.until(lambda: len(endpoint.source.limited) == 1)
    device.publish("t/1", b"last", qos=1, id=99)
    assert await other.quiet()
    arrived = len(endpoint.events)
    seconds = 0
    while endpoint.source.limited:
        for conn in endpoint.source.limited:
            conn.seen -= 1000  # its keepalive stands still
        endpoint.source._sweep()
        seconds += 1
        assert await other.quiet()
    assert seconds >= arrived // 10 - 1
    await endpoint.until(lambda: endpoint.events[-1]["payload"] == "last")
    assert len(endpoint.events) == 36


async def test_a_limited_device_that_leaves_is_forgotten(serve, join):
    endpoint = await serve(client_rate=1)
    endpoint.start()
    device = await join(endpoint)
    device.send(b"\x30\x06\x00\x03t/1x" * 100)
    await endpoint.until(lambda: endpoint.source.limited)
    await join(endpoint)  # taken over
    await endpoint.until(lambda: endpoint.counters["connections"] == 1)
    assert not endpoint.source.limited

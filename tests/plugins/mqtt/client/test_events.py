"""Client events out of what brokers and devices publish: the shapes as they were recorded or are documented."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from headrace_plugins.mqtt.events import Derived, EventsOptions, adapter_of
from headrace_plugins.mqtt.source import Mqtt

ALL = frozenset(
    ("client.connected", "client.disconnected", "client.connack", "session.subscribed", "session.unsubscribed")
)
NOW = 1800000000000


def events(options, topic, payload, *, retained=False, wanted=ALL, snapshots=False):
    """The columns of the events in a message, without id and node."""
    adapter = adapter_of(EventsOptions.model_validate(options))
    derived = Derived(adapter, wanted, "headrace-own", "node", snapshots=snapshots)
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    found = derived(topic, body, retained, NOW)
    assert all(event.columns.pop("id") == event.id for event in found)
    assert all(event.key == (event.get("clientid") or topic) for event in found)
    assert all(event.columns.pop("node") for event in found if options != "emqx")
    return [event.columns for event in found]


EMQX_CONNECTED = {
    "clientid": "a/b",
    "username": "alice",
    "ipaddress": "10.0.0.7",
    "sockport": 1883,
    "protocol": "mqtt",
    "proto_name": "MQTT",
    "proto_ver": 5,
    "connected_at": 1795485539000,
    "ts": 1795485539001,
    "keepalive": 60,
    "clean_start": True,
    "expiry_interval": 7200000,
    "receive_maximum": 32,
    "conn_props": {"User-Property": {}},
    "client_attrs": {},
}


def test_emqx_tells_who_connects():
    (event,) = events("emqx", "$SYS/brokers/emqx@127.0.0.1/clients/a/b/connected", EMQX_CONNECTED)
    assert event == {
        "event": "client.connected",
        "clientid": "a/b",
        "username": "alice",
        "peerhost": "10.0.0.7",
        "proto_name": "MQTT",
        "proto_ver": 5,
        "keepalive": 60,
        "clean_start": True,
        "receive_maximum": 32,
        "expiry_interval": 7200000,
        "conn_props": {"User-Property": {}},
        "client_attrs": {},
        "connected_at": 1795485539000,
        "node": "emqx@127.0.0.1",
        "timestamp": 1795485539001,
        "event_source": "emqx",
        "confidence": "fact",
    }


def test_emqx_tells_who_goes_and_who_subscribes():
    common = {"clientid": "d1", "username": "undefined", "ts": 5}
    base = "$SYS/brokers/n1/clients/d1/"
    gone = {"reason": "keepalive_timeout", "disconnected_at": 4, "disconn_props": {}, "connected_at": 1}
    (event,) = events("emqx", base + "disconnected", common | gone)
    assert (event["event"], event["reason"], event["disconnected_at"]) == (
        "client.disconnected",
        "keepalive_timeout",
        4,
    )
    subopts = {"qos": 1, "nl": 0, "rap": 0, "rh": 0, "is_new": True, "sub_props": {"a": 1}}
    (event,) = events("emqx", base + "subscribed", common | {"topic": "$share/g/t/#", "subopts": subopts})
    assert (event["topic"], event["qos"], event["sub_props"]) == ("$share/g/t/#", 1, {"a": 1})
    (event,) = events("emqx", base + "unsubscribed", common | {"topic": "t/#"})
    assert (event["event"], event["topic"]) == ("session.unsubscribed", "t/#")


REPUBLISHED = {"source": "emqx", "republished": ["evt/#", "$event/#"]}
RULE_ENGINE = {  # EMQX 5: SELECT * FROM "$events/client_disconnected", republished with the payload ${.}
    "event": "client.disconnected",
    "reason": "tcp_closed",
    "clientid": "d1",
    "username": "undefined",
    "peername": "10.0.0.7:5066",
    "sockname": "10.0.0.1:1883",
    "proto_name": "MQTT",
    "proto_ver": 5,
    "disconn_props": {},
    "connected_at": 1795485538000,
    "disconnected_at": 1795485539000,
    "timestamp": 1795485539001,
    "node": "emqx@127.0.0.1",
    "client_attrs": {},
    "metadata": {"rule_id": "r1"},
}


def test_what_a_rule_of_emqx_publishes_again_is_taken_as_it_is():
    (event,) = events(REPUBLISHED, "evt/client.disconnected/d1", RULE_ENGINE)
    left_out = ("metadata", "username", "node")
    assert event == {key: value for key, value in RULE_ENGINE.items() if key not in left_out} | {
        "peerhost": "10.0.0.7",
        "event_source": "emqx",
        "confidence": "fact",
    }
    allowed = {"event": "client.check_authz_complete", "clientid": "d1", "action": "subscribe", "result": "allow"}
    (event,) = events(REPUBLISHED, "evt/x", allowed, wanted=frozenset(("client.check_authz_complete",)))
    assert (event["action"], event["result"], event["timestamp"]) == ("subscribe", "allow", NOW)


def test_the_event_topics_of_emqx_4_name_the_event():
    old = {"clientid": "d1", "topic": "t/#", "qos": 1, "ts": 5}
    (event,) = events(REPUBLISHED, "$event/client_subscribed", old)
    assert (event["event"], event["topic"], event["qos"]) == ("session.subscribed", "t/#", 1)
    (event,) = events(REPUBLISHED, "$event/client_connected", {"clientid": "d1"})
    assert event["event"] == "client.connected"


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("evt/x", b"{"),
        ("evt/x", {"event": "client.connected"}),
        ("evt/x", {"event": "client.connected", "clientid": "headrace-own"}),
        ("evt/x", {"event": "message.publish", "clientid": "d1", "topic": "t/1"}),
        ("evt/x", {"event": ["client.connected"], "clientid": "d1"}),
        ("evt/x", {"clientid": "d1"}),
        ("t/x", RULE_ENGINE),
    ],
)
def test_what_else_is_on_those_topics_is_no_event(topic, payload):
    assert events(REPUBLISHED, topic, payload) == []


def test_republished_events_are_subscribed_to_instead_of_sys_topics():
    adapter = adapter_of(EventsOptions.model_validate(REPUBLISHED))
    assert adapter.filters(frozenset(("client.connected",))) == ["evt/#", "$event/#"]
    assert adapter.filters(frozenset()) == []
    with pytest.raises(ValidationError, match="source: emqx"):
        EventsOptions.model_validate({"source": "will", "republished": ["evt/#"]})


def test_rmqtt_is_emqx_with_a_port():
    payload = {
        "node": 1,
        "ipaddress": "10.0.0.7:5066",
        "clientid": "d1",
        "clean_session": True,
        "session_present": False,
    }
    (event,) = events("emqx", "$SYS/brokers/1/clients/d1/connected", payload)
    assert (event["peerhost"], event["peername"], event["clean_start"]) == ("10.0.0.7", "10.0.0.7:5066", True)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("$SYS/brokers/n/clients/d1/connected", b"{"),
        ("$SYS/brokers/n/clients/d1/connected", {"clientid": "headrace-own"}),
        ("$SYS/brokers/n/clients/d1/other", {"clientid": "d1"}),
        ("$SYS/brokers/n/clients/d1/connected", b"[]"),
    ],
)
def test_what_is_none_is_none(topic, payload):
    assert events("emqx", topic, payload) == []


N, E = "$SYS/broker/log/N", "$SYS/broker/log/E"


@pytest.mark.parametrize(
    ("topic", "line", "found"),
    [
        (N, "1795485539: New connection from 127.0.0.1:56774 on port 18933.", None),
        (
            N,
            "1795485539: New client connected from 127.0.0.1:56774 as dev1 (p2, c1, k60, u'alice').",
            {
                "event": "client.connected",
                "clientid": "dev1",
                "username": "alice",
                "peerhost": "127.0.0.1",
                "peername": "127.0.0.1:56774",
                "proto_name": "MQTT",
                "proto_ver": 4,
                "keepalive": 60,
                "clean_start": True,
                "is_bridge": False,
                "connected_at": 1795485539000,
            },
        ),
        (N, "1795485539: New client connected from ::1:5 as x as y (p5, c0, k0) (p5, c0, k0).",
         {"event": "client.connected", "clientid": "x as y (p5, c0, k0)", "proto_ver": 5, "peerhost": "::1"}),
        (N, "New client connected from 10.0.0.1 as old (c1, k60, u'a').", {"clientid": "old", "peerhost": "10.0.0.1"}),
        (N, "1795485539: Client dev1 disconnected.", {"event": "client.disconnected", "reason": "normal"}),
        (N, "1795485540: Client dev 3, b closed its connection.", {"clientid": "dev 3, b", "reason": "tcp_closed"}),
        (E, "1795485541: Client dev4 already connected, closing old connection.", {"reason": "takenover"}),
        (N, "1795485515: Client rawbad disconnected due to protocol error.", {"reason": "protocol_error"}),
        (N, "1795485515: Client badpub disconnected: Success.", {"clientid": "badpub", "reason": "success"}),
        (N, "2026-01-31T12:00:00: Client a has exceeded timeout, disconnecting.", {"reason": "keepalive_timeout"}),
        (N, "1: Client <unknown> disconnected, not authorised.", None),
        (N, "1795485515: Client <unknown> disconnected, not authorised.",
         {"event": "client.connack", "reason_code": "not_authorized"}),
        ("$SYS/broker/log/M/subscribe", "1795485539: dev 3 1 a/#",
         {"event": "session.subscribed", "clientid": "dev 3", "qos": 1, "topic": "a/#"}),
        ("$SYS/broker/log/M/unsubscribe", "1795485542: dev6 u/1",
         {"event": "session.unsubscribed", "clientid": "dev6", "topic": "u/1"}),
        (N, "1795485539: Client headrace-own disconnected.", None),
    ],
)  # fmt: skip
def test_the_lines_of_mosquitto(topic, line, found):
    told = events("mosquitto", topic, line.encode())
    if found is None:
        assert told == []
        return
    (event,) = told
    assert event.items() >= found.items()
    assert (event["event_source"], event["confidence"]) == ("mosquitto", "likely")
    if line.startswith("17954855"):
        assert event["timestamp"] == int(line.partition(":")[0]) * 1000


def test_nanomq_counts_in_hexadecimal():
    payload = {"username": "", "ts": 1650000000000, "proto_name": "MQTT", "keepalive": 60, "return_code": "0",
               "proto_ver": 4, "client_id": "d1", "clean_start": 1, "IPv4": "10.0.0.7"}  # fmt: skip
    connack, connected = events("nanomq", "$SYS/brokers/connected", payload)
    assert (connack["event"], connack["reason_code"]) == ("client.connack", "success")
    assert connected == {
        "event": "client.connected",
        "clientid": "d1",
        "peerhost": "10.0.0.7",
        "proto_name": "MQTT",
        "proto_ver": 4,
        "keepalive": 60,
        "clean_start": True,
        "connected_at": 1650000000000,
        "timestamp": 1650000000000,
        "event_source": "nanomq",
        "confidence": "fact",
    }
    (refused,) = events("nanomq", "$SYS/brokers/connected", payload | {"return_code": "87"})
    assert refused["reason_code"] == "reason_code_0x87"
    (gone,) = events("nanomq", "$SYS/brokers/disconnected", payload | {"reason_code": "8d"})
    assert (gone["event"], gone["reason"]) == ("client.disconnected", "keepalive_timeout")


def test_nanomq_does_not_escape():
    broken = b'{"username":"a"b","ts":1650000000000,"reason_code":"8b","client_id":"d"1","IPv4":"10.0.0.7"}'
    (gone,) = events("nanomq", "$SYS/brokers/disconnected", broken)
    assert (gone["clientid"], gone["username"], gone["reason"]) == ('d"1', 'a"b', "server_shutting_down")


@pytest.mark.parametrize(
    ("topic", "payload", "event", "clientid"),
    [
        ("tele/plug7/LWT", b"Online", "client.connected", "plug7"),
        ("tele/plug7/LWT", b"Offline", "client.disconnected", "plug7"),
        ("zigbee2mqtt/lamp/availability", b'{"state":"online"}', "client.connected", "lamp"),
        ("zigbee2mqtt/lamp/availability", b"offline", "client.disconnected", "lamp"),
        ("shellies/s1/online", b"false", "client.disconnected", "s1"),
        ("homie/h1/$state", b"ready", "client.connected", "h1"),
        ("homie/h1/$state", b"lost", "client.disconnected", "h1"),
    ],
)
def test_devices_tell_of_themselves(topic, payload, event, clientid):
    assert events("will", topic, payload) == [
        {
            "event": event,
            "clientid": clientid,
            "reason": "birth" if event == "client.connected" else "will",
            "timestamp": NOW,
            "event_source": "will",
            "confidence": "inferred",
        }
    ]


def test_states_that_say_neither_are_no_events():
    assert events("will", "homie/h1/$state", b"sleeping") == []
    assert events("will", "tele/plug7/LWT", b"") == []


NBIRTH = bytes.fromhex("0880d095ffbc3112120a0562645365711881d095ffbc3120045803")
NDEATH = bytes.fromhex("08d0df95ffbc3112120a05626453657118d0df95ffbc3120045803")  # both by pysparkplug, bdSeq 3


def test_sparkplug_nodes_are_born_and_die():
    derived = Derived(adapter_of(EventsOptions.model_validate("will")), ALL, "own", "node", snapshots=False)

    def told(kind, payload, rest="edge7"):
        found = derived(f"spBv1.0/Plant/{kind}/{rest}", payload, False, NOW)
        return [(event["event"], event["clientid"], event["reason"]) for event in found]

    older = NDEATH[:-1] + b"\x02"
    assert told("NDEATH", NDEATH) == [("client.disconnected", "Plant/edge7", "will")], "its birth was not seen"
    assert told("NBIRTH", NBIRTH) == [("client.connected", "Plant/edge7", "birth")]
    assert told("NDEATH", older) == [], "the will of an older connection"
    assert told("NDEATH", NDEATH) == [("client.disconnected", "Plant/edge7", "will")]
    assert told("DBIRTH", b"", "edge7/pump") == [("client.connected", "Plant/edge7/pump", "birth")]
    assert told("DDEATH", b"", "edge7/pump") == [("client.disconnected", "Plant/edge7/pump", "death")]
    assert told("NDATA", b"") == told("NBIRTH", b"", "a/b/c") == []


def test_own_topics_and_words_can_be_given():
    status = {"topic": "site/+/+/alive", "clientid": "payload.id", "path": "a.up", "online": ["yes"], "offline": ["no"]}
    options = {"source": "will", "status": [status]}
    (event,) = events(options, "site/1/x/alive", {"id": "dev9", "a": {"up": "No"}})
    assert (event["event"], event["clientid"]) == ("client.disconnected", "dev9")
    assert events(options, "site/1/x/alive", {"a": {"up": "yes"}}) == []


def test_a_retained_state_is_a_snapshot_and_no_event_unless_asked_for():
    assert events("will", "tele/plug7/LWT", b"Online", retained=True) == []
    (event,) = events("will", "tele/plug7/LWT", b"Online", retained=True, snapshots=True)
    assert event["snapshot"] is True


def test_only_events_that_rules_read_are_made_and_asked_for():
    assert events("will", "tele/plug7/LWT", b"Online", wanted=frozenset(["client.disconnected"])) == []
    mosquitto = adapter_of(EventsOptions.model_validate("mosquitto"))
    assert mosquitto.filters(frozenset(["session.subscribed"])) == ["$SYS/broker/log/M/subscribe"]
    assert mosquitto.filters(ALL) == [N, E, "$SYS/broker/log/M/subscribe", "$SYS/broker/log/M/unsubscribe"]
    assert adapter_of(EventsOptions.model_validate("emqx")).filters(frozenset(["message.dropped"])) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("vernemq", "emqx"),
        ({"source": "emqx", "snapshots": True}, "are for `source: will`"),
        ({"source": "will", "status": [{"topic": "a/#/b"}]}, "last one"),
        ({"source": "will", "status": [{"topic": "a/+", "clientid": "x"}]}, "topic"),
    ],
)
def test_wrong_options_are_refused(options, why):
    with pytest.raises(ValidationError, match=why):
        Mqtt.Config(url="mqtt://localhost", events=options)

"""The rules of MQTT 3.1.1 and 5: what each packet that breaks one is answered with.

The tables are written from the standards and not from the code; a number in brackets is the statement of MQTT 5.
"""

from __future__ import annotations

import pytest

from headrace_plugins._mqtt.framing import encode_packet, encode_string, encode_varint

MALFORMED, PROTOCOL_ERROR, BAD_FILTER, BAD_TOPIC, BAD_ALIAS = 0x81, 0x82, 0x8F, 0x90, 0x94
BAD_METHOD, NO_RETAIN, NO_SHARED = 0x8C, 0x9A, 0x9E


def text(value: bytes | str) -> bytes:
    return encode_string(value)


def props(*encoded: bytes) -> bytes:
    body = b"".join(encoded)
    return encode_varint(len(body)) + body


def connect(
    *properties: bytes,
    version: int = 5,
    flags: int = 2,
    name: str = "MQTT",
    rest: bytes = text("dev1"),
    first: int = 0x10,
) -> bytes:
    head = text(name) + bytes((version, flags)) + b"\0\x3c"
    return encode_packet(first, head, props(*properties) if version == 5 else b"", rest)


# -- properties: table 2-4 of MQTT 5 ---------------------------------------------------------------------------

VALUES = {
    0x01: b"\x01", 0x02: b"\0\0\0\x3c", 0x03: text("text/plain"), 0x08: text("answers"), 0x09: text(b"\x01\x02"),
    0x0B: b"\x07", 0x11: b"\0\0\0\x3c", 0x12: text("x"), 0x13: b"\0\x3c", 0x15: text("SCRAM"), 0x16: text(b"\x01"),
    0x17: b"\x01", 0x18: b"\0\0\0\x05", 0x19: b"\x01", 0x1A: text("x"), 0x1C: text("x"), 0x1F: text("why"),
    0x21: b"\0\x09", 0x22: b"\0\x05", 0x23: b"\0\x01", 0x24: b"\x01", 0x25: b"\x01", 0x26: text("k") + text("v"),
    0x27: b"\0\0\x10\0", 0x28: b"\x01", 0x29: b"\x01", 0x2A: b"\x01",
}  # fmt: skip
PROPERTY = {id: bytes((id,)) + value for id, value in VALUES.items()}
ALLOWED = {
    "CONNECT": {0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27},
    "will": {0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26},
    "PUBLISH": {0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26},
    "PUBACK": {0x1F, 0x26},
    "PUBREL": {0x1F, 0x26},
    "SUBSCRIBE": {0x0B, 0x26},
    "UNSUBSCRIBE": {0x26},
    "DISCONNECT": {0x11, 0x1F, 0x26},
}
"""What a client may send."""


def carrying(kind: str, *properties: bytes) -> bytes:
    """A packet of this kind that is right but for its properties."""
    body = props(*properties)
    return {
        "CONNECT": lambda: connect(*properties),
        "will": lambda: connect(flags=6, rest=text("dev1") + body + text("w/1") + text("gone")),
        "PUBLISH": lambda: encode_packet(0x30, text("t/1"), body, b"x"),
        "PUBACK": lambda: encode_packet(0x40, b"\0\x09\0", body),
        "PUBREL": lambda: encode_packet(0x62, b"\0\x09\0", body),
        "SUBSCRIBE": lambda: encode_packet(0x82, b"\0\x01", body, text("t/1"), b"\0"),
        "UNSUBSCRIBE": lambda: encode_packet(0xA2, b"\0\x01", body, text("t/1")),
        "DISCONNECT": lambda: encode_packet(0xE0, b"\0", body),
    }[kind]()


async def verdict(endpoint, dial, kind: str, *properties: bytes) -> int:
    """The reason code the packet was answered with; 0 if there was nothing wrong with it."""
    device = await dial(endpoint)
    if kind not in ("CONNECT", "will"):
        device.send(connect(PROPERTY[0x11]))
        assert (await device.packet())[3] == 0
    device.send(carrying(kind, *properties))
    if kind == "DISCONNECT":
        answer = await device.packet()
        code = answer[2] if answer else 0
    elif kind in ("CONNECT", "will"):
        code = (await device.packet())[3]
    else:
        device.send(b"\xc0\0")
        answer = await device.packet()
        while answer[0] in (0x70, 0x90, 0xB0):
            answer = await device.packet()
        code = answer[2] if answer[0] == 0xE0 else 0
    device.close()
    return code


@pytest.mark.parametrize("kind", ALLOWED)
async def test_each_property_belongs_to_its_packets_and_is_there_once(serve, dial, kind):
    endpoint = await serve()
    endpoint.start()
    for id, one in PROPERTY.items():
        needs = [PROPERTY[0x15]] if id == 0x16 and kind == "CONNECT" else []  # the data are those of a method
        expected = 0 if id in ALLOWED[kind] else PROTOCOL_ERROR
        if id == 0x15 and kind == "CONNECT":
            expected = BAD_METHOD
        got = await verdict(endpoint, dial, kind, *needs, one)
        assert got == (BAD_METHOD if needs else expected), f"{id:#04x} in {kind}"
        twice = await verdict(endpoint, dial, kind, *needs, one, one)
        expected = 0 if id == 0x26 and not needs else PROTOCOL_ERROR
        assert twice == (expected if id in ALLOWED[kind] else PROTOCOL_ERROR), f"{id:#04x} twice in {kind}"
    assert await verdict(endpoint, dial, kind, b"\x7f\0") == MALFORMED
    assert await verdict(endpoint, dial, kind, b"\x26\0\x01k") == MALFORMED
    assert await verdict(endpoint, dial, kind, PROPERTY[0x26], b"\x26") == MALFORMED


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        ("CONNECT", b"\x21\0\0", PROTOCOL_ERROR),  # Receive Maximum 0
        ("CONNECT", b"\x27\0\0\0\0", PROTOCOL_ERROR),  # Maximum Packet Size 0
        ("CONNECT", b"\x17\x02", PROTOCOL_ERROR),  # Request Problem Information 2
        ("CONNECT", b"\x19\x02", PROTOCOL_ERROR),  # Request Response Information 2
        ("CONNECT", PROPERTY[0x16], PROTOCOL_ERROR),  # Authentication Data of no method
        ("will", b"\x01\x02", PROTOCOL_ERROR),  # Payload Format Indicator 2
        ("will", b"\x08" + text("a/#"), PROTOCOL_ERROR),  # Response Topic with a wildcard [3.3.2-14]
        ("PUBLISH", b"\x01\x02", PROTOCOL_ERROR),
        ("PUBLISH", b"\x08" + text("a/+"), PROTOCOL_ERROR),
        ("PUBLISH", b"\x03" + text(b"\xff"), MALFORMED),
        ("PUBLISH", b"\x26" + text("k") + text(b"a\0b"), MALFORMED),
        ("PUBLISH", b"\x23\0\0", BAD_ALIAS),
        ("PUBLISH", b"\x23\0\x11", BAD_ALIAS),  # 16 is the most
        ("SUBSCRIBE", b"\x0b\0", PROTOCOL_ERROR),  # Subscription Identifier 0
        ("SUBSCRIBE", b"\x0b\x80\0", MALFORMED),  # 0 in two bytes [1.5.5-1]
        ("SUBSCRIBE", b"\x0b\xff\xff\xff\xff\x01", MALFORMED),
    ],
)
async def test_values_no_property_may_have(serve, dial, kind, value, code):
    endpoint = await serve()
    assert await verdict(endpoint, dial, kind, value) == code


# -- packets in a session --------------------------------------------------------------------------------------


def publish(
    topic: bytes | str, payload: bytes = b"x", first: int = 0x30, id: bytes = b"", properties: bytes = b""
) -> list[bytes]:
    """For 3.1.1 and for 5."""
    return [encode_packet(first, text(topic), id, with_, payload) for with_ in (b"", props(properties))]


def subscribe(filter: str, options: int, id: bytes = b"\0\x01") -> list[bytes]:
    return [encode_packet(0x82, id, with_, text(filter), bytes((options,))) for with_ in (b"", b"\0")]


def unsubscribe(filter: str) -> list[bytes]:
    return [encode_packet(0xA2, b"\0\x01", with_, text(filter)) for with_ in (b"", b"\0")]


def both(packet: bytes) -> list[bytes]:
    return [packet, packet]


IN_SESSION: dict[str, tuple[list[bytes], int]] = {
    "a second CONNECT": (both(connect()), PROTOCOL_ERROR),
    "a second CONNECT of 3.1.1": (both(connect(version=4)), PROTOCOL_ERROR),
    "packet type 0": (both(b"\0\0"), MALFORMED),
    "AUTH, but no method": (both(b"\xf0\0"), PROTOCOL_ERROR),
    "CONNACK": (both(b"\x20\x02\0\0"), PROTOCOL_ERROR),
    "SUBACK": (both(b"\x90\x03\0\x01\0"), PROTOCOL_ERROR),
    "UNSUBACK": (both(b"\xb0\x02\0\x01"), PROTOCOL_ERROR),
    "PINGRESP": (both(b"\xd0\0"), PROTOCOL_ERROR),
    **{
        f"reserved flags {first:#04x}": (both(encode_packet(first, b"\0\x01")), MALFORMED)
        for first in (0x11, 0x41, 0x51, 0x60, 0x63, 0x71, 0x80, 0x83, 0xA0, 0xA3, 0xC1, 0xE1, 0xF1)
    },
    "a length of five bytes": (both(b"\x30\x80\x80\x80\x80\x01"), MALFORMED),
    "PINGREQ with a body": (both(b"\xc0\x01x"), MALFORMED),
    "QoS 3": (publish("t/1", first=0x36, id=b"\0\x01"), MALFORMED),
    "DUP at QoS 0 [3.3.1-2]": (publish("t/1", first=0x38), MALFORMED),
    "PUBLISH of QoS 1 with packet id 0": (publish("t/1", first=0x32, id=b"\0\0"), PROTOCOL_ERROR),
    "PUBLISH of QoS 2 with packet id 0": (publish("t/1", first=0x34, id=b"\0\0"), PROTOCOL_ERROR),
    "PUBREL with packet id 0": (both(b"\x62\x02\0\0"), PROTOCOL_ERROR),
    "PUBACK with packet id 0": (both(b"\x40\x02\0\0"), PROTOCOL_ERROR),
    "SUBSCRIBE with packet id 0": (subscribe("t/1", 0, b"\0\0"), PROTOCOL_ERROR),
    "PUBREL of one byte": (both(b"\x62\x01\0"), MALFORMED),
    "PUBCOMP of one byte": (both(b"\x70\x01\0"), MALFORMED),
    "PUBLISH cut short": (both(b"\x32\x06" + text("t/1") + b"\0"), MALFORMED),
    "PUBLISH without a topic's length": (both(b"\x30\x01\0"), MALFORMED),
    "a topic longer than its packet": (both(b"\x30\x05\0\x09t/1"), MALFORMED),
    "a NUL in a topic [1.5.4-2]": (publish("t/\0"), MALFORMED),
    "a surrogate in a topic [1.5.4-1]": (publish(b"t/\xed\xa0\x80"), MALFORMED),
    "a topic in overlong UTF-8": (publish(b"t/\xc0\xaf"), MALFORMED),
    "a topic cut within a character": (publish(b"t/\xe2\x82"), MALFORMED),
    "a + in a topic [3.3.2-2]": (publish("t/+"), BAD_TOPIC),
    "a # in a topic": (publish("t#"), BAD_TOPIC),
    "no topic and no alias": (publish(""), PROTOCOL_ERROR),
    "an alias nobody set": ([publish("")[0], publish("", properties=b"\x23\0\x03")[1]], PROTOCOL_ERROR),
    "SUBSCRIBE of QoS 3": (subscribe("t/1", 3), PROTOCOL_ERROR),
    "SUBSCRIBE with reserved options [3.8.3-5]": (subscribe("t/1", 0x40), MALFORMED),
    "SUBSCRIBE without a filter [3.8.3-2]": ([b"\x82\x02\0\x01", b"\x82\x03\0\x01\0"], PROTOCOL_ERROR),
    "SUBSCRIBE without options": ([b"\x82\x07\0\x01" + text("t/1"), b"\x82\x08\0\x01\0" + text("t/1")], MALFORMED),
    "SUBSCRIBE to nothing": (subscribe("", 0), BAD_FILTER),
    "SUBSCRIBE to a/#/b [4.7.1-1]": (subscribe("a/#/b", 0), BAD_FILTER),
    "SUBSCRIBE to a/b+ [4.7.1-2]": (subscribe("a/b+", 0), BAD_FILTER),
    "SUBSCRIBE to a NUL": (subscribe("a/\0", 0), MALFORMED),
    "UNSUBSCRIBE without a filter [3.10.3-2]": ([b"\xa2\x02\0\x01", b"\xa2\x03\0\x01\0"], PROTOCOL_ERROR),
    "UNSUBSCRIBE from #a": (unsubscribe("#a"), BAD_FILTER),
    "more than max_packet": (both(b"\x30\x80\x80\x80\x01"), 0x95),
}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("what", IN_SESSION)
async def test_a_wrong_packet_ends_its_connection_and_is_named(serve, join, what, version):
    endpoint = await serve(filters=("#", "$events/client_disconnected"))
    endpoint.start()
    other = await join(endpoint, "other")
    device = await join(endpoint, "bad", version)
    packets, code = IN_SESSION[what]
    device.send(packets[version == 5], b"\xc0\0")
    assert await device.packet() == (bytes((0xE0, 1, code)) if version == 5 else b"")
    assert await device.packet() == b""
    (event,) = await endpoint.arrived(1)
    assert (event["event"], event["clientid"], event["reason"]) == ("client.disconnected", "bad", "protocol_error")
    assert await other.quiet()
    assert endpoint.counters["connections.protocol_error"] == 1


ONLY_5: dict[str, tuple[bytes, int]] = {
    "a retained message, of which CONNACK said there are none": (publish("t/1", first=0x31)[1], NO_RETAIN),
    "the same at QoS 1": (publish("t/1", first=0x33, id=b"\0\x01")[1], NO_RETAIN),
    "a shared subscription, of which CONNACK said there are none": (subscribe("$share/g/t", 0)[1], NO_SHARED),
    "no-local on a shared subscription [3.8.3-4]": (subscribe("$share/g/t", 4)[1], PROTOCOL_ERROR),
    "retain handling 3": (subscribe("t/1", 0x30)[1], PROTOCOL_ERROR),
    "a length of 5 in two bytes [1.5.5-1]": (b"\x30\x85\0" + text("t/1") + b"\0", MALFORMED),
    "the same in four": (b"\x30\x86\x80\x80\0" + text("t/1") + b"\0", MALFORMED),
    "properties longer than their packet": (b"\x30\x06" + text("t/1") + b"\x09", MALFORMED),
    "no properties' length": (b"\x30\x05" + text("t/1"), MALFORMED),
    "bytes behind those of PUBREL": (b"\x62\x05\0\x01\0\0x", MALFORMED),
    "bytes behind those of DISCONNECT": (b"\xe0\x03\0\0x", MALFORMED),
    "DISCONNECT with a server's reason": (b"\xe0\x01\x8e", PROTOCOL_ERROR),
    "DISCONNECT that prolongs a session of 0 s [3.14.2-2]": (b"\xe0\x07\0\x05\x11\0\0\0\x09", PROTOCOL_ERROR),
}


@pytest.mark.parametrize("what", ONLY_5)
async def test_a_packet_that_only_mqtt_5_forbids(serve, join, what):
    endpoint = await serve()
    endpoint.start()
    device = await join(endpoint, version=5)
    packet, code = ONLY_5[what]
    device.send(packet, b"\xc0\0")
    assert await device.packets(2) == [bytes((0xE0, 1, code)), b""]
    assert not endpoint.events


async def test_what_3_1_1_lets_pass(serve, join):
    endpoint = await serve()
    endpoint.start()
    device = await join(endpoint)
    device.send(b"\x30\x87\0" + text("t/1") + b"on", publish("t/1", b"kept", first=0x31)[0], b"\xc0\x80\0")
    assert await device.packet() == b"\xd0\0"
    assert [event["payload"] for event in await endpoint.arrived(2)] == ["on", "kept"]
    device.send(b"\xe0\x01\0")
    assert await device.packet() == b""
    assert endpoint.counters["connections.protocol_error"] == 1, "a DISCONNECT of 3.1.1 has no body"


# -- CONNECT ---------------------------------------------------------------------------------------------------

WILL = text("w/1") + text("gone")


def refused(code: int) -> bytes:
    return bytes((0x20, 3, 0, code, 0))


ON_CONNECT: dict[str, tuple[bytes, bytes]] = {
    "version 6": (connect(version=6), b"\x20\x02\0\x01"),
    "MQTT 3": (connect(version=3), b"\x20\x02\0\x01"),
    "MQIsdp 4": (connect(version=4, name="MQIsdp"), b"\x20\x02\0\x01"),
    "another name": (connect(version=5, name="MQTTX"), b"\x20\x02\0\x01"),
    "reserved flags of the first byte": (connect(first=0x11), b""),
    "the reserved flag [3.1.2-3]": (connect(flags=3), refused(MALFORMED)),
    "the reserved flag, 3.1.1": (connect(version=4, flags=3), b""),
    "QoS of no will [3.1.2-11]": (connect(flags=0x0A), refused(MALFORMED)),
    "retained, but no will [3.1.2-13]": (connect(flags=0x22), refused(MALFORMED)),
    "a will of QoS 3 [3.1.2-12]": (connect(flags=0x1E, rest=text("d") + b"\0" + WILL), refused(MALFORMED)),
    "a will of QoS 3, 3.1.1": (connect(version=4, flags=0x1E, rest=text("d") + WILL), b""),
    "a will to a wildcard": (connect(flags=6, rest=text("d") + b"\0" + text("w/#") + text("x")), refused(BAD_TOPIC)),
    "a will to a wildcard, 3.1.1": (connect(version=4, flags=6, rest=text("d") + text("w/#") + text("x")), b""),
    "a will to nothing": (connect(flags=6, rest=text("d") + b"\0" + text("") + text("x")), refused(BAD_TOPIC)),
    "a retained will [3.2.2-13]": (connect(flags=0x26, rest=text("d") + b"\0" + WILL), refused(NO_RETAIN)),
    "a will cut short": (connect(flags=6, rest=text("d") + b"\0" + text("w/1") + b"\0\x09x"), refused(MALFORMED)),
    "a password without a name, 3.1.1": (connect(version=4, flags=0x42, rest=text("d") + text("pw")), b""),
    "no name, though the flag is set": (connect(flags=0x82), refused(MALFORMED)),
    "bytes behind it": (connect(rest=text("dev1") + b"x"), refused(MALFORMED)),
    "a client id with a NUL": (connect(rest=text("d\0")), refused(MALFORMED)),
    "a client id that is not UTF-8": (connect(rest=text(b"\xff")), refused(MALFORMED)),
    "a name that is not UTF-8": (connect(flags=0x82, rest=text("d") + text(b"\xc3")), refused(MALFORMED)),
    "an authentication method": (connect(PROPERTY[0x15]), refused(BAD_METHOD)),
    "no client id, to be kept, 3.1.1 [3.1.3-8]": (connect(version=4, flags=0, rest=text("")), b"\x20\x02\0\x02"),
    "no client id, 3.1": (connect(version=3, name="MQIsdp", rest=text("")), b"\x20\x02\0\x02"),
    "PINGREQ first": (b"\xc0\0", b""),
    "DISCONNECT first": (b"\xe0\0", b""),
    "AUTH first": (b"\xf0\0", b""),
}


@pytest.mark.parametrize("what", ON_CONNECT)
async def test_a_wrong_connect_is_refused(serve, dial, what):
    endpoint = await serve(filters=("#", "$events/client_connected", "$events/client_disconnected"))
    endpoint.start()
    device = await dial(endpoint)
    packet, answer = ON_CONNECT[what]
    device.send(packet, b"\xc0\0")
    assert await device.packet() == answer
    assert not answer or await device.packet() == b""
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    assert not endpoint.events, "no client, no will"


@pytest.mark.parametrize(
    "packet",
    [
        connect(version=4, rest=text("")),
        connect(flags=0, rest=text("")),
        connect(flags=0x42, rest=text("d") + text("pw")),  # MQTT 5 allows a password alone
        connect(version=4, rest=text("d" * 65535)),
        connect(PROPERTY[0x26], PROPERTY[0x26]),
        connect(version=4, flags=0x26, rest=text("d") + WILL),  # retained: 3.1.1 has no word against it
    ],
)
async def test_what_connect_may_be(serve, dial, packet):
    endpoint = await serve()
    device = await dial(endpoint)
    device.send(packet)
    answer = await device.packet()
    assert answer[:1] + answer[2:4] == b"\x20\0\0"
    assert await device.quiet()


async def test_retained_messages_are_taken_where_they_may_be(serve, join, dial):
    endpoint = await serve(retained="take")
    endpoint.start()
    device = await dial(endpoint)
    device.send(connect(flags=0x26, rest=text("d") + b"\0" + WILL))
    answer = await device.packet()
    assert answer[3] == 0
    assert b"\x25\0" not in answer[4:]
    device.send(publish("t/1", first=0x33, id=b"\0\x01")[1])
    assert await device.packet() == b"\x40\x02\0\x01"
    device.close()
    message, will = await endpoint.arrived(2)
    assert message["flags"] == will["flags"] == {"retain": True, "dup": False}


# -- subscriptions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "explained"),
    [
        ([], True),
        ([b"\x17\x01"], True),
        ([b"\x17\0"], False),  # Request Problem Information [3.1.2-29]
        ([b"\x27\0\0\0\x10"], False),  # Maximum Packet Size [3.9.2-2]
    ],
)
async def test_a_refusal_is_explained_only_to_who_may_hear_it(serve, dial, properties, explained):
    endpoint = await serve()
    device = await dial(endpoint)
    device.send(connect(*properties), subscribe("t/#", 1)[1])
    await device.packet()
    answer = await device.packet()
    assert (b"sends none" in answer) is explained
    assert answer[:1] == b"\x90"
    assert answer[-1] == 0x83


SESSION = ("$events/session_subscribed", "$events/session/unsubscribed")


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_subscriptions_are_granted_to_who_insists(serve, join, version):
    endpoint = await serve(subscriptions="grant", filters=SESSION)
    endpoint.start()
    device = await join(endpoint, version=version)
    one, two = subscribe("cmd/#", 1)[version == 5], subscribe("$share/g/x", 0)[0]
    device.send(one, *([] if version == 5 else [two]))
    granted = b"\x90\x04\0\x01\0\0" if version == 5 else b"\x90\x03\0\x01\0"
    assert await device.packet() == granted
    if version != 5:
        assert await device.packet() == granted
    device.send(unsubscribe("cmd/#")[version == 5], unsubscribe("cmd/#")[version == 5])
    assert await device.packets(2) == (
        [b"\xb0\x04\0\x01\0\0", b"\xb0\x04\0\x01\0\x11"] if version == 5 else [b"\xb0\x02\0\x01"] * 2
    )
    events = await endpoint.arrived(2 if version == 5 else 3)
    assert [(event["event"], event["topic"]) for event in events if event["topic"] == "cmd/#"] == [
        ("session.subscribed", "cmd/#"),
        ("session.unsubscribed", "cmd/#"),
    ]
    assert events[0]["qos"] == 1
    assert events[0]["clientid"] == "dev1"


async def test_granted_subscriptions_belong_to_the_session_and_are_bounded(serve, join):
    endpoint = await serve(subscriptions="grant", filters=(*SESSION, "t/#"))
    endpoint.start()
    device = await join(endpoint, clean=False)
    device.send(encode_packet(0x82, b"\0\x07", text("a/" + "x" * 4000), b"\0", text("b/" + "y" * 4000), b"\x02"))
    assert await device.packet() == b"\x90\x04\0\x07\0\x80"
    device.close()
    device = await join(endpoint, clean=False, present=True)
    device.send(unsubscribe("a/" + "x" * 4000)[0])
    assert await device.packet() == b"\xb0\x02\0\x01"
    assert [event["event"] for event in await endpoint.arrived(2)] == ["session.subscribed", "session.unsubscribed"]
    device = await join(endpoint, "new", 5, properties={"User-Property": [("a", "b")]})
    device.send(encode_packet(0x82, b"\0\x07", props(b"\x0b\x05", PROPERTY[0x26]), text("x/" + "z" * 5000), b"\0"))
    assert (await device.packet())[-1] == 0x97
    device.send(encode_packet(0x82, b"\0\x07", props(b"\x0b\x05", PROPERTY[0x26]), text("x"), b"\0"))
    assert (await device.packet())[-1] == 0
    assert (await endpoint.arrived(3))[2]["sub_props"] == {
        "Subscription-Identifier": 5,
        "User-Property": {"k": "v"},
        "User-Property-Pairs": [{"key": "k", "value": "v"}],
    }


# -- goodbyes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "will"),
    [
        (0x00, "normal", False),  # [3.14.4-3]
        (0x04, "disconnect_with_will_message", True),
        (0x80, "unspecified_error", True),  # the will goes unless the reason is 0
        (0x98, "administrative_action", True),
    ],
)
async def test_only_a_normal_goodbye_takes_the_will_away(serve, join, code, reason, will):
    endpoint = await serve(filters=("w/#", "$events/client_disconnected"))
    endpoint.start()
    device = await join(endpoint, version=5, will=("w/1", b"gone", 0, False, {}))
    device.send(bytes((0xE0, 1, code)))
    assert await device.packet() == b""
    events = await endpoint.arrived(2 if will else 1)
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    assert events[0]["reason"] == reason
    assert [event["topic"] for event in events[1:]] == ["w/1"] * will


# -- topics that begin with $ ----------------------------------------------------------------------------------


async def test_a_message_is_no_event_whatever_its_topic(serve, join):
    endpoint = await serve(filters=("$events/client_connected", "$SYS/#"))
    endpoint.start()
    device = await join(endpoint)
    for topic in ("$events/client_connected", "$events/client/connected", "$SYS/broker/log/N", "$share/g/t"):
        device.publish(topic, b'{"event": "client.connected", "clientid": "victim"}', qos=1)
        assert await device.packet() == b"\x40\x02\0\x01"
    await endpoint.until(lambda: len(endpoint.events) == 5)
    events = endpoint.events
    assert [event["event"] for event in events] == ["client.connected"] + ["message.publish"] * 4
    assert {event["clientid"] for event in events} == {"dev1"}

"""MQTT 3.1, 3.1.1 and 5 packets: reading them in place; properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from headrace_plugins._mqtt.framing import (
    PROTOCOL_ERROR,
    TOPIC_INVALID,
    UNSUPPORTED_VERSION,
    ProtocolError,
    decode_text,
    encode_string,
    encode_varint,
    read_binary,
    read_byte,
    read_text,
    read_u16,
    read_varint,
)

__all__ = [
    "Connect",
    "Topics",
    "Will",
    "decode_connect",
    "decode_properties",
    "decode_publish",
    "decode_subscribe",
    "decode_unsubscribe",
    "encode_properties",
    "plain_publishes",
    "pub_props",
]


# -- properties: id → name (that of the events' pub_props) and kind --------------------------------------------

_TEXT, _BINARY, _BYTE, _U16, _U32, _VARINT, _PAIR = range(7)

PROPERTIES: Mapping[int, tuple[str, int]] = {
    1: ("Payload-Format-Indicator", _BYTE),
    2: ("Message-Expiry-Interval", _U32),
    3: ("Content-Type", _TEXT),
    8: ("Response-Topic", _TEXT),
    9: ("Correlation-Data", _BINARY),
    11: ("Subscription-Identifier", _VARINT),
    17: ("Session-Expiry-Interval", _U32),
    18: ("Assigned-Client-Identifier", _TEXT),
    19: ("Server-Keep-Alive", _U16),
    21: ("Authentication-Method", _TEXT),
    22: ("Authentication-Data", _BINARY),
    23: ("Request-Problem-Information", _BYTE),
    24: ("Will-Delay-Interval", _U32),
    25: ("Request-Response-Information", _BYTE),
    26: ("Response-Information", _TEXT),
    28: ("Server-Reference", _TEXT),
    31: ("Reason-String", _TEXT),
    33: ("Receive-Maximum", _U16),
    34: ("Topic-Alias-Maximum", _U16),
    35: ("Topic-Alias", _U16),
    36: ("Maximum-QoS", _BYTE),
    37: ("Retain-Available", _BYTE),
    38: ("User-Property", _PAIR),
    39: ("Maximum-Packet-Size", _U32),
    40: ("Wildcard-Subscription-Available", _BYTE),
    41: ("Subscription-Identifier-Available", _BYTE),
    42: ("Shared-Subscription-Available", _BYTE),
}
_IDS = {name: (id, kind) for id, (name, kind) in PROPERTIES.items()}
_WIDTH = {_BYTE: 1, _U16: 2, _U32: 4}
_REPEATED = {11}  # a message that matches several subscriptions carries several: then they are a list

IN_CONNECT = frozenset({17, 21, 22, 23, 25, 33, 34, 38, 39})
IN_WILL = frozenset({1, 2, 3, 8, 9, 24, 38})
IN_PUBLISH = frozenset({1, 2, 3, 8, 9, 35, 38})  # sent by a client
IN_DELIVERY = IN_PUBLISH | {11}  # sent by a server
IN_SUBSCRIBE = frozenset({11, 38})
IN_UNSUBSCRIBE = frozenset({38})
IN_DISCONNECT = frozenset({17, 28, 31, 38})


def decode_properties(data: bytes, pos: int, end: int, allowed: frozenset[int]) -> tuple[dict[str, Any], int]:
    """The properties at ``pos`` by name, and where they end. User properties are a list of pairs."""
    size, pos = read_varint(data, pos, end)
    stop = pos + size
    if stop > end:
        raise ProtocolError("properties are longer than the packet")
    found: dict[str, Any] = {}
    while pos < stop:
        id = data[pos]
        name, kind = PROPERTIES.get(id, ("", -1))
        if kind < 0:
            raise ProtocolError(f"unknown property {id}")
        if id not in allowed:
            raise ProtocolError(f"{name} is not allowed in this packet", PROTOCOL_ERROR)
        value, pos = _value(data, pos + 1, stop, kind)
        if kind == _PAIR:
            found.setdefault(name, []).append(value)
        elif name not in found:
            found[name] = value
        elif id in _REPEATED:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            raise ProtocolError(f"{name} is there twice", PROTOCOL_ERROR)
    return found, stop


def _value(data: bytes, pos: int, end: int, kind: int) -> tuple[Any, int]:
    if kind == _TEXT:
        return read_text(data, pos, end)
    if kind == _BINARY:
        return read_binary(data, pos, end)
    if kind == _VARINT:
        return read_varint(data, pos, end)
    if kind == _PAIR:
        name, pos = read_text(data, pos, end)
        value, pos = read_text(data, pos, end)
        return (name, value), pos
    stop = pos + _WIDTH[kind]
    if stop > end:
        raise ProtocolError("a property is cut short")
    return int.from_bytes(data[pos:stop], "big"), stop


def pub_props(found: dict[str, Any]) -> dict[str, Any]:
    """Properties of a message as the column ``pub_props``: a map of the user's own, and the pairs beside it."""
    found.pop("Topic-Alias", None)
    pairs = found.get("User-Property")
    if pairs:
        found["User-Property"] = dict(pairs)
        found["User-Property-Pairs"] = [{"key": key, "value": value} for key, value in pairs]
    return found


# -- packets read ----------------------------------------------------------------------------------------------


class Topics:
    """Topic names by their bytes: checked and decoded once each. Bounded; long ones are not remembered.

    Look into ``known`` first, a plain dict, which is quicker than anything with a method.
    """

    def __init__(self) -> None:
        self.known: dict[bytes, str] = {}

    def check(self, raw: bytes) -> str:
        """The name, the first time. ProtocolError if it is none."""
        topic = decode_text(raw)
        if "+" in topic or "#" in topic:
            raise ProtocolError("a topic name has a wildcard", TOPIC_INVALID)
        if len(raw) <= 200:
            if len(self.known) >= 10_000:
                self.known.clear()
            self.known[raw] = topic
        return topic


_NO_PROPERTIES: dict[str, Any] = {}


def decode_publish(
    data: bytes, header: int, pos: int, end: int, v5: bool, topics: Topics, allowed: frozenset[int] = IN_PUBLISH
) -> tuple[str, bytes, bytes, dict[str, Any]]:
    """Topic, payload, packet id (two bytes; none at QoS 0) and properties (a shared empty dict if there are none)."""
    start = pos + 2
    if start > end:
        raise ProtocolError("the packet is cut short")
    pos = start + (data[pos] << 8 | data[pos + 1])
    raw = data[start:pos]
    topic = topics.known.get(raw)
    if topic is None:
        topic = topics.check(raw)
    packet_id = b""
    if header & 6:
        packet_id = data[pos : pos + 2]
        pos += 2
        if header & 6 == 6:
            raise ProtocolError("QoS 3")
        if packet_id == b"\0\0":
            raise ProtocolError("packet id 0", PROTOCOL_ERROR)
    found = _NO_PROPERTIES
    if v5:
        if pos < end and not data[pos]:
            pos += 1
        else:
            found, pos = decode_properties(data, pos, end, allowed)
    if pos > end:
        raise ProtocolError("the packet is cut short")
    if not topic and "Topic-Alias" not in found:
        raise ProtocolError("an empty topic", TOPIC_INVALID if not v5 else PROTOCOL_ERROR)
    return topic, data[pos:end], packet_id, found


PLAIN = frozenset((0x30, 0x32, 0x34, 0x3A, 0x3C))
"""First bytes of the packets that ``plain_publishes`` reads."""


def plain_publishes(
    data: bytes, pos: int, v5: bool, known: dict[bytes, str]
) -> Iterator[tuple[int, str, bytes, bytes, int]]:
    """First byte, topic, payload, packet id and end of the PUBLISH packets at ``pos``, while they are as most are.

    That is: whole, not retained, without properties, of a topic that is ``known``. At anything else it ends: that is
    for ``frames`` and ``decode_publish``, which take twice the time, and know what is wrong with a packet.
    """
    size = len(data)
    while size - pos > 4 and (header := data[pos]) in PLAIN:
        length, start, packet_id = data[pos + 1], pos + 2, b""
        if length > 127:
            if not 0 < data[start] < 128:
                return
            length += (data[start] << 7) - 128
            start += 1
        pos = start + length
        stop = start + 2 + (data[start] << 8 | data[start + 1])
        topic = known.get(data[start + 2 : stop])
        if header & 6:
            packet_id = data[stop : stop + 2]
            stop += 2
        if pos > size or not topic or packet_id == b"\0\0":
            return
        if v5:
            if stop >= pos or data[stop]:
                return
            stop += 1
        if stop > pos:
            return
        yield header, topic, data[stop:pos], packet_id, pos


class Will(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any]


class Connect(NamedTuple):
    """What a CONNECT says. ``version`` is 3 (MQTT 3.1), 4 (3.1.1) or 5."""

    version: int
    clientid: str
    clean_start: bool
    keepalive: int
    username: str | None
    password: bytes | None
    will: Will | None
    properties: dict[str, Any]


def decode_connect(data: bytes, pos: int, end: int) -> Connect:
    """A CONNECT. ``ProtocolError`` with UNSUPPORTED_VERSION if it is for another protocol version."""
    protocol, pos = read_binary(data, pos, end)
    version, pos = read_byte(data, pos, end)
    if (protocol, version) not in ((b"MQTT", 4), (b"MQTT", 5), (b"MQIsdp", 3)):
        raise ProtocolError("unknown protocol version", UNSUPPORTED_VERSION)
    flags, pos = read_byte(data, pos, end)
    _check_flags(flags, version)
    keepalive, pos = read_u16(data, pos, end)
    properties = _NO_PROPERTIES
    if version == 5:
        properties, pos = decode_properties(data, pos, end, IN_CONNECT)
        if properties.get("Receive-Maximum") == 0 or properties.get("Maximum-Packet-Size") == 0:
            raise ProtocolError("Receive-Maximum or Maximum-Packet-Size is 0", PROTOCOL_ERROR)
    clientid, pos = read_text(data, pos, end)
    will = None
    if flags & 4:
        will, pos = _decode_will(data, pos, end, flags, version)
    username = password = None
    if flags & 0x80:
        username, pos = read_text(data, pos, end)
    if flags & 0x40:
        password, pos = read_binary(data, pos, end)
    if pos != end:
        raise ProtocolError("bytes after the end of CONNECT")
    return Connect(version, clientid, bool(flags & 2), keepalive, username, password, will, properties)


def _check_flags(flags: int, version: int) -> None:
    if flags & 1:
        raise ProtocolError("the reserved flag of CONNECT is set")
    if flags & 0x18 == 0x18 or (not flags & 4 and flags & 0x38):
        raise ProtocolError("will flags that contradict each other")
    if version < 5 and flags & 0xC0 == 0x40:
        raise ProtocolError("a password without a user name")


def _decode_will(data: bytes, pos: int, end: int, flags: int, version: int) -> tuple[Will, int]:
    properties: dict[str, Any] = {}
    if version == 5:
        properties, pos = decode_properties(data, pos, end, IN_WILL)
    topic, pos = read_text(data, pos, end)
    if not topic or "+" in topic or "#" in topic:
        raise ProtocolError("the will's topic name is empty or has a wildcard", TOPIC_INVALID)
    payload, pos = read_binary(data, pos, end)
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), properties), pos


def decode_subscribe(data: bytes, pos: int, end: int, v5: bool) -> tuple[bytes, list[str]]:
    """Packet id and topic filters of a SUBSCRIBE."""
    packet_id, pos = _head(data, pos, end, v5, IN_SUBSCRIBE)
    filters = []
    while pos < end:
        filter, pos = read_text(data, pos, end)
        options, pos = read_byte(data, pos, end)
        if options & 3 == 3 or options & (0xC0 if v5 else 0xFC):
            raise ProtocolError("bad subscription options")
        filters.append(filter)
    if not filters:
        raise ProtocolError("a SUBSCRIBE without a topic filter", PROTOCOL_ERROR)
    return packet_id, filters


def decode_unsubscribe(data: bytes, pos: int, end: int, v5: bool) -> tuple[bytes, list[str]]:
    """Packet id and topic filters of an UNSUBSCRIBE."""
    packet_id, pos = _head(data, pos, end, v5, IN_UNSUBSCRIBE)
    filters = []
    while pos < end:
        filter, pos = read_text(data, pos, end)
        filters.append(filter)
    if not filters:
        raise ProtocolError("an UNSUBSCRIBE without a topic filter", PROTOCOL_ERROR)
    return packet_id, filters


def _head(data: bytes, pos: int, end: int, v5: bool, allowed: frozenset[int]) -> tuple[bytes, int]:
    number, pos = read_u16(data, pos, end)
    if not number:
        raise ProtocolError("packet id 0", PROTOCOL_ERROR)
    if v5:
        _, pos = decode_properties(data, pos, end, allowed)
    return number.to_bytes(2, "big"), pos


# -- packets written -------------------------------------------------------------------------------------------


def encode_properties(properties: Mapping[str, Any]) -> bytes:
    """Properties by name, as ``decode_properties`` gives them."""
    out = bytearray()
    for name, value in properties.items():
        id, kind = _IDS[name]
        for one in value if isinstance(value, list) else (value,):
            out.append(id)
            if kind == _PAIR:
                out += encode_string(one[0]) + encode_string(one[1])
            elif kind in (_TEXT, _BINARY):
                out += encode_string(one)
            else:
                out += encode_varint(one) if kind == _VARINT else one.to_bytes(_WIDTH[kind], "big")
    return encode_varint(len(out)) + bytes(out)

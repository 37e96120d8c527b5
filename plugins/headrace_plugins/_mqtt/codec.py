"""MQTT 3.1, 3.1.1 and 5 packets: reading them in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from headrace.topics import problem
from headrace_plugins._mqtt.framing import (
    FILTER_INVALID,
    PROTOCOL_ERROR,
    TOPIC_INVALID,
    UNSUPPORTED_VERSION,
    ProtocolError,
    decode_text,
    read_binary,
    read_byte,
    read_text,
    read_u16,
)
from headrace_plugins._mqtt.properties import (
    IN_ACK,
    IN_CONNECT,
    IN_DISCONNECT,
    IN_PUBLISH,
    IN_SUBSCRIBE,
    IN_UNSUBSCRIBE,
    IN_WILL,
    check_values,
    decode_properties,
)

__all__ = [
    "Connect",
    "Topics",
    "Will",
    "decode_ack",
    "decode_connect",
    "decode_disconnect",
    "decode_publish",
    "decode_subscribe",
    "decode_unsubscribe",
    "plain_publishes",
]


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
        check_values(properties)
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
        check_values(properties)
    topic, pos = read_text(data, pos, end)
    if not topic or "+" in topic or "#" in topic:
        raise ProtocolError("the will's topic name is empty or has a wildcard", TOPIC_INVALID)
    payload, pos = read_binary(data, pos, end)
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), properties), pos


def decode_subscribe(data: bytes, pos: int, end: int, v5: bool) -> tuple[bytes, dict[str, Any], list[tuple[str, int]]]:
    """Packet id, properties, and topic filters with their options, of a SUBSCRIBE."""
    packet_id, found, pos = _head(data, pos, end, v5, IN_SUBSCRIBE)
    number = found.get("Subscription-Identifier")
    if number == 0 or isinstance(number, list):
        raise ProtocolError("Subscription-Identifier is 0 or there twice", PROTOCOL_ERROR)
    wanted = []
    while pos < end:
        filter, pos = _filter(data, pos, end)
        options, pos = read_byte(data, pos, end)
        if options & (0xC0 if v5 else 0xFC):
            raise ProtocolError("reserved subscription options are set")
        if options & 3 == 3 or options & 0x30 == 0x30:
            raise ProtocolError("QoS 3 or retain handling 3 in SUBSCRIBE", PROTOCOL_ERROR)
        if options & 4 and filter.startswith("$share/"):
            raise ProtocolError("no-local on a shared subscription", PROTOCOL_ERROR)
        wanted.append((filter, options))
    if not wanted:
        raise ProtocolError("a SUBSCRIBE without a topic filter", PROTOCOL_ERROR)
    return packet_id, found, wanted


def decode_unsubscribe(data: bytes, pos: int, end: int, v5: bool) -> tuple[bytes, dict[str, Any], list[str]]:
    """Packet id, properties and topic filters of an UNSUBSCRIBE."""
    packet_id, found, pos = _head(data, pos, end, v5, IN_UNSUBSCRIBE)
    filters = []
    while pos < end:
        filter, pos = _filter(data, pos, end)
        filters.append(filter)
    if not filters:
        raise ProtocolError("an UNSUBSCRIBE without a topic filter", PROTOCOL_ERROR)
    return packet_id, found, filters


def _filter(data: bytes, pos: int, end: int) -> tuple[str, int]:
    filter, pos = read_text(data, pos, end)
    if why := problem(filter):
        raise ProtocolError(why, FILTER_INVALID)
    return filter, pos


def _head(data: bytes, pos: int, end: int, v5: bool, allowed: frozenset[int]) -> tuple[bytes, dict[str, Any], int]:
    number, pos = read_u16(data, pos, end)
    if not number:
        raise ProtocolError("packet id 0", PROTOCOL_ERROR)
    found = _NO_PROPERTIES
    if v5:
        found, pos = decode_properties(data, pos, end, allowed)
    return number.to_bytes(2, "big"), found, pos


def decode_ack(data: bytes, pos: int, end: int, v5: bool) -> bytes:
    """Packet id of a PUBACK, PUBREC, PUBREL or PUBCOMP."""
    packet_id = data[pos : pos + 2]
    if end - pos != 2:
        if end - pos < 2 or not v5:
            raise ProtocolError("an acknowledgement of a wrong length")
        if end - pos > 3:
            _, pos = decode_properties(data, pos + 3, end, IN_ACK)
            if pos != end:
                raise ProtocolError("bytes after the end of an acknowledgement")
    if packet_id == b"\0\0":
        raise ProtocolError("packet id 0", PROTOCOL_ERROR)
    return packet_id


def decode_disconnect(data: bytes, pos: int, end: int, v5: bool) -> tuple[int, dict[str, Any]]:
    """Reason code and properties of a DISCONNECT."""
    if pos == end:
        return 0, _NO_PROPERTIES
    if not v5:
        raise ProtocolError("a DISCONNECT with a body")
    code, pos = read_byte(data, pos, end)
    found = _NO_PROPERTIES
    if pos < end:
        found, pos = decode_properties(data, pos, end, IN_DISCONNECT)
    if pos != end:
        raise ProtocolError("bytes after the end of DISCONNECT")
    return code, found

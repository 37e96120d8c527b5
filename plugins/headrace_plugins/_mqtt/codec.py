"""MQTT 3.1, 3.1.1 and 5 packets: reading them in place, writing them.

Everything read comes from a stranger. Whatever is wrong with it raises ``ProtocolError`` with the reason code of
MQTT 5 that names it; nothing else is ever raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = [
    "Connect",
    "ProtocolError",
    "Rest",
    "Topics",
    "decode_connect",
    "decode_properties",
    "decode_publish",
    "decode_subscribe",
    "decode_unsubscribe",
    "encode_packet",
    "encode_properties",
    "encode_string",
    "encode_varint",
    "frames",
    "missing",
    "pub_props",
]

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x30, 0x40, 0x50, 0x62, 0x70
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP = 0x82, 0x90, 0xA2, 0xB0, 0xC0, 0xD0
DISCONNECT, AUTH = 0xE0, 0xF0

MALFORMED, PROTOCOL_ERROR, TOPIC_INVALID, ALIAS_INVALID, TOO_LARGE = 0x81, 0x82, 0x90, 0x94, 0x95
UNSUPPORTED_VERSION, BAD_CLIENTID = 0x84, 0x85

MAX_VARINT = 268_435_455


class ProtocolError(Exception):
    """A packet breaks the protocol; ``code`` is the reason code of MQTT 5."""

    def __init__(self, text: str, code: int = MALFORMED) -> None:
        super().__init__(text)
        self.code = code


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
_REPEATED = {11}  # a message that matches several subscriptions carries several

IN_CONNECT = frozenset({17, 21, 22, 23, 25, 33, 34, 38, 39})
IN_WILL = frozenset({1, 2, 3, 8, 9, 24, 38})
IN_PUBLISH = frozenset({1, 2, 3, 8, 9, 35, 38})  # sent by a client
IN_DELIVERY = IN_PUBLISH | {11}  # sent by a server
IN_SUBSCRIBE = frozenset({11, 38})
IN_UNSUBSCRIBE = frozenset({38})
IN_DISCONNECT = frozenset({17, 28, 31, 38})


def decode_properties(data: bytes, pos: int, end: int, allowed: frozenset[int]) -> tuple[dict[str, Any], int]:
    """The properties at ``pos`` by name, and where they end. User properties are a list of pairs."""
    size, pos = _varint(data, pos, end)
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
        elif id not in _REPEATED:
            raise ProtocolError(f"{name} is there twice", PROTOCOL_ERROR)
    return found, stop


def _value(data: bytes, pos: int, end: int, kind: int) -> tuple[Any, int]:
    if kind == _TEXT:
        return _text(data, pos, end)
    if kind == _BINARY:
        return _binary(data, pos, end)
    if kind == _VARINT:
        return _varint(data, pos, end)
    if kind == _PAIR:
        name, pos = _text(data, pos, end)
        value, pos = _text(data, pos, end)
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


# -- fields ----------------------------------------------------------------------------------------------------


def _varint(data: bytes | bytearray, pos: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while pos < end:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
        if shift > 21:
            raise ProtocolError("a length has more than four bytes")
    raise ProtocolError("a length is cut short")


def _binary(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    start = pos + 2
    stop = start + int.from_bytes(data[pos:start], "big")
    if start > end or stop > end:
        raise ProtocolError("a field is longer than the packet")
    return data[start:stop], stop


def _text(data: bytes, pos: int, end: int) -> tuple[str, int]:
    raw, pos = _binary(data, pos, end)
    return _decode(raw), pos


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a text is not UTF-8") from None
    if "\0" in text:
        raise ProtocolError("a text has a NUL")
    return text


def _u16(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos + 2 > end:
        raise ProtocolError("the packet is cut short")
    return data[pos] << 8 | data[pos + 1], pos + 2


def _byte(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos >= end:
        raise ProtocolError("the packet is cut short")
    return data[pos], pos + 1


# -- framing ---------------------------------------------------------------------------------------------------


def frames(data: bytes, max_packet: int = MAX_VARINT) -> Iterator[tuple[int, int, int]]:
    """First byte, start of the body and end of each whole packet in ``data``; what is left over is not told."""
    pos, size = 0, len(data)
    while size - pos >= 2:
        header = data[pos]
        length = data[pos + 1]
        start = pos + 2
        if length > 127:
            if size > start and data[start] < 128:  # two bytes, the usual case beside one
                length += (data[start] << 7) - 128
                start += 1
            elif size > pos + 4:
                length, start = _varint(data, pos + 1, size)
            else:
                return
        if length > max_packet:
            raise ProtocolError(f"a packet of {length} bytes; at most {max_packet} are taken", TOO_LARGE)
        pos = start + length
        if pos > size:
            return
        yield header, start, pos


def missing(data: bytes | bytearray) -> int:
    """How many bytes the packet that begins ``data`` has in all, as far as one can tell: at least 2."""
    try:
        length, start = _varint(data, 1, len(data))
    except ProtocolError:
        return len(data) + 1
    return start + length


class Rest:
    """What was read of a packet that is not whole yet. However small the pieces are, each byte is copied twice."""

    __slots__ = ("_data", "_need")

    def __init__(self) -> None:
        self._data = bytearray()
        self._need = 0

    def __len__(self) -> int:
        return len(self._data)

    def keep(self, data: bytes) -> bool:
        """Add bytes. True if there may be a whole packet now."""
        self._data += data
        self._need = missing(self._data)
        return len(self._data) >= self._need

    def take(self) -> bytes:
        """All of it; none is left."""
        data = bytes(self._data)
        self._data = bytearray()
        return data


# -- packets read ----------------------------------------------------------------------------------------------


class Topics(dict[bytes, str]):
    """Topic names by their bytes: checked and decoded once each. Bounded; long ones are not remembered."""

    def __missing__(self, raw: bytes) -> str:
        topic = _decode(raw)
        if "+" in topic or "#" in topic:
            raise ProtocolError("a topic name has a wildcard", TOPIC_INVALID)
        if len(raw) <= 200:
            if len(self) >= 10_000:
                self.clear()
            self[raw] = topic
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
    topic = topics[data[start:pos]]
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
    protocol, pos = _binary(data, pos, end)
    version, pos = _byte(data, pos, end)
    if (protocol, version) not in ((b"MQTT", 4), (b"MQTT", 5), (b"MQIsdp", 3)):
        raise ProtocolError("unknown protocol version", UNSUPPORTED_VERSION)
    flags, pos = _byte(data, pos, end)
    _check_flags(flags, version)
    keepalive, pos = _u16(data, pos, end)
    properties: dict[str, Any] = {}
    if version == 5:
        properties, pos = decode_properties(data, pos, end, IN_CONNECT)
        if properties.get("Receive-Maximum") == 0 or properties.get("Maximum-Packet-Size") == 0:
            raise ProtocolError("Receive-Maximum or Maximum-Packet-Size is 0", PROTOCOL_ERROR)
    clientid, pos = _text(data, pos, end)
    will = None
    if flags & 4:
        will, pos = _decode_will(data, pos, end, flags, version)
    username = password = None
    if flags & 0x80:
        username, pos = _text(data, pos, end)
    if flags & 0x40:
        password, pos = _binary(data, pos, end)
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
    topic, pos = _text(data, pos, end)
    if not topic or "+" in topic or "#" in topic:
        raise ProtocolError("the will's topic name is empty or has a wildcard", TOPIC_INVALID)
    payload, pos = _binary(data, pos, end)
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), properties), pos


def decode_subscribe(data: bytes, pos: int, end: int, v5: bool) -> tuple[bytes, list[str]]:
    """Packet id and topic filters of a SUBSCRIBE."""
    packet_id, pos = _head(data, pos, end, v5, IN_SUBSCRIBE)
    filters = []
    while pos < end:
        filter, pos = _text(data, pos, end)
        options, pos = _byte(data, pos, end)
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
        filter, pos = _text(data, pos, end)
        filters.append(filter)
    if not filters:
        raise ProtocolError("an UNSUBSCRIBE without a topic filter", PROTOCOL_ERROR)
    return packet_id, filters


def _head(data: bytes, pos: int, end: int, v5: bool, allowed: frozenset[int]) -> tuple[bytes, int]:
    number, pos = _u16(data, pos, end)
    if not number:
        raise ProtocolError("packet id 0", PROTOCOL_ERROR)
    if v5:
        _, pos = decode_properties(data, pos, end, allowed)
    return number.to_bytes(2, "big"), pos


# -- packets written -------------------------------------------------------------------------------------------


def encode_varint(value: int) -> bytes:
    """A length of MQTT: seven bits a byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_string(value: str | bytes) -> bytes:
    """A text or binary field with its length before it."""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def encode_properties(properties: Mapping[str, Any]) -> bytes:
    """Properties by name, as ``decode_properties`` gives them."""
    out = bytearray()
    for name, value in properties.items():
        id, kind = _IDS[name]
        for one in value if kind == _PAIR else (value,):
            out.append(id)
            if kind == _PAIR:
                out += encode_string(one[0]) + encode_string(one[1])
            elif kind in (_TEXT, _BINARY):
                out += encode_string(one)
            else:
                out += encode_varint(one) if kind == _VARINT else one.to_bytes(_WIDTH[kind], "big")
    return encode_varint(len(out)) + bytes(out)


def encode_packet(header: int, *parts: bytes) -> bytes:
    """A packet: first byte, length, body."""
    body = b"".join(parts)
    return bytes((header,)) + encode_varint(len(body)) + body

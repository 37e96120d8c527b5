"""Properties of MQTT 5: by name, and as the events show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_plugins._mqtt.framing import (
    PROTOCOL_ERROR,
    ProtocolError,
    encode_string,
    encode_varint,
    read_binary,
    read_text,
    read_varint,
)

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
IN_DISCONNECT = frozenset({17, 31, 38})  # sent by a client
IN_ACK = frozenset({31, 38})


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
        elif id in _REPEATED:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            raise ProtocolError(f"{name} is there twice", PROTOCOL_ERROR)
    return found, stop


def _varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    value, stop = read_varint(data, pos, end)
    if stop - pos > 1 and not data[stop - 1]:
        raise ProtocolError("a length has more bytes than it needs")
    return value, stop


def _value(data: bytes, pos: int, end: int, kind: int) -> tuple[Any, int]:
    if kind == _TEXT:
        return read_text(data, pos, end)
    if kind == _BINARY:
        return read_binary(data, pos, end)
    if kind == _VARINT:
        return _varint(data, pos, end)
    if kind == _PAIR:
        name, pos = read_text(data, pos, end)
        value, pos = read_text(data, pos, end)
        return (name, value), pos
    stop = pos + _WIDTH[kind]
    if stop > end:
        raise ProtocolError("a property is cut short")
    return int.from_bytes(data[pos:stop], "big"), stop


_FLAGS = ("Payload-Format-Indicator", "Request-Problem-Information", "Request-Response-Information")


def check_values(found: dict[str, Any]) -> None:
    """ProtocolError if a property of a client's packet has a value it must not have."""
    if found.get("Receive-Maximum") == 0 or found.get("Maximum-Packet-Size") == 0:
        raise ProtocolError("Receive-Maximum or Maximum-Packet-Size is 0", PROTOCOL_ERROR)
    for name in _FLAGS:
        if found.get(name, 0) > 1:
            raise ProtocolError(f"{name} is neither 0 nor 1", PROTOCOL_ERROR)
    if "Authentication-Data" in found and "Authentication-Method" not in found:
        raise ProtocolError("Authentication-Data without Authentication-Method", PROTOCOL_ERROR)
    answers = found.get("Response-Topic", "")
    if "+" in answers or "#" in answers:
        raise ProtocolError("Response-Topic has a wildcard", PROTOCOL_ERROR)


def pub_props(found: dict[str, Any]) -> dict[str, Any]:
    """Properties of a message as the column ``pub_props``: a map of the user's own, and the pairs beside it."""
    found.pop("Topic-Alias", None)
    pairs = found.get("User-Property")
    if pairs:
        found["User-Property"] = dict(pairs)
        found["User-Property-Pairs"] = [{"key": key, "value": value} for key, value in pairs]
    return found


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

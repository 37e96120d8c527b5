"""Packets of a session that are no messages, and what is answered to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace_plugins._mqtt import codec, framing
from headrace_plugins._mqtt.framing import PROTOCOL_ERROR, ProtocolError
from headrace_plugins._mqtt.properties import encode_properties, pub_props
from headrace_plugins.mqtt_server import records

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.connection import Connection

__all__ = ["control"]

GRANTED, REFUSED, NO_SUBSCRIPTION, QUOTA_EXCEEDED, UNKNOWN_ID = 0x00, 0x83, 0x11, 0x97, b"\x92"
REFUSED_3 = 0x80
SHARED_NOT_SUPPORTED = 0x9E
KEEP_WILL = 0x04  # DISCONNECT: publish the will all the same
GOODBYES = frozenset((0, KEEP_WILL, 0x80, 0x81, 0x82, 0x83, 0x90, *range(0x93, 0x9A)))
"""Reasons a client may give in its DISCONNECT."""
WHY = encode_properties({"Reason-String": "headrace takes messages in and sends none"})
MAX_SUBSCRIPTIONS = 4096
"""Characters of the topic filters that are remembered of one session."""

Answer = Callable[["Connection", bytes, int, int], None]


def control(conn: Connection, header: int, data: bytes, start: int, end: int) -> None:
    """Answer a packet that begins with ``header``. ProtocolError if it has no business here."""
    answer = _ANSWERS.get(header)
    if answer is not None:
        answer(conn, data, start, end)
    elif header == framing.CONNECT:
        raise ProtocolError("a second CONNECT", PROTOCOL_ERROR)
    elif header == framing.AUTH:
        raise ProtocolError("AUTH without an authentication method", PROTOCOL_ERROR)
    elif header in (framing.CONNACK, framing.SUBACK, framing.UNSUBACK, framing.PINGRESP):
        raise ProtocolError(f"a packet for clients ({header:#04x})", PROTOCOL_ERROR)
    else:
        raise ProtocolError(f"a packet that begins with {header:#04x}")


def _ping(conn: Connection, data: bytes, start: int, end: int) -> None:
    if start != end:
        raise ProtocolError("a PINGREQ with a body")
    conn.out += b"\xd0\x00"


def _ignore(conn: Connection, data: bytes, start: int, end: int) -> None:
    """An answer to something we never send."""
    codec.decode_ack(data, start, end, conn.v5)


def _release(conn: Connection, data: bytes, start: int, end: int) -> None:
    packet_id = codec.decode_ack(data, start, end, conn.v5)
    received = conn.incoming.received
    known = packet_id in received
    received.pop(packet_id, None)
    conn.out += b"\x70\x02" + packet_id if known or not conn.v5 else b"\x70\x03" + packet_id + UNKNOWN_ID


def _subscribe(conn: Connection, data: bytes, start: int, end: int) -> None:
    packet_id, found, wanted = codec.decode_subscribe(data, start, end, conn.v5)
    if conn.v5 and any(filter.startswith("$share/") for filter, _ in wanted):
        raise ProtocolError("a shared subscription, which CONNACK said there is not", SHARED_NOT_SUPPORTED)
    codes = bytes(_subscribed(conn, filter, options, found) for filter, options in wanted)
    if conn.v5:
        refused = any(codes)
        answer = framing.encode_packet(framing.SUBACK, packet_id, WHY if refused else b"\0", codes)
        if refused and not _may_explain(conn, answer):
            answer = framing.encode_packet(framing.SUBACK, packet_id, b"\0", codes)
    else:
        answer = framing.encode_packet(framing.SUBACK, packet_id, bytes(REFUSED_3 if code else 0 for code in codes))
    conn.out += answer


def _may_explain(conn: Connection, answer: bytes) -> bool:
    """May an answer with a reason in words be sent to this MQTT 5 device?"""
    assert conn.connect is not None
    asked = conn.connect.properties
    fits = len(answer) <= asked.get("Maximum-Packet-Size", len(answer))
    return fits and bool(asked.get("Request-Problem-Information", 1))


def _subscribed(conn: Connection, filter: str, options: int, found: dict[str, object]) -> int:
    """The reason code for one topic filter."""
    assert conn.session is not None
    if conn.server.config.subscriptions == "refuse":
        conn.judged("subscribe", filter, False, "default")
        return REFUSED
    known = conn.session.subscriptions
    if filter not in known and sum(map(len, known)) + len(filter) > MAX_SUBSCRIPTIONS:
        return QUOTA_EXCEEDED
    conn.session.subscriptions = known | {filter}
    conn.judged("subscribe", filter, True, "default")
    told = {"topic": filter, "qos": options & 3, "sub_props": pub_props(dict(found))}
    conn.server.emit(conn, "session.subscribed", lambda: told)
    return GRANTED


def _unsubscribe(conn: Connection, data: bytes, start: int, end: int) -> None:
    assert conn.session is not None
    packet_id, found, filters = codec.decode_unsubscribe(data, start, end, conn.v5)
    codes = bytearray()
    for filter in filters:
        known = filter in conn.session.subscriptions
        codes.append(GRANTED if known else NO_SUBSCRIPTION)
        if known:
            conn.session.subscriptions -= {filter}
            told = {"topic": filter, "unsub_props": pub_props(dict(found))}
            conn.server.emit(conn, "session.unsubscribed", lambda told=told: told)  # type: ignore[misc]
    conn.out += framing.encode_packet(framing.UNSUBACK, packet_id, b"\0" + bytes(codes) if conn.v5 else b"")


def _disconnect(conn: Connection, data: bytes, start: int, end: int) -> None:
    assert conn.session is not None
    assert conn.connect is not None
    code, properties = codec.decode_disconnect(data, start, end, conn.v5)
    if code not in GOODBYES:
        raise ProtocolError(f"DISCONNECT with the reason code {code:#04x}", PROTOCOL_ERROR)
    conn.properties = properties
    expiry = properties.get("Session-Expiry-Interval")
    if expiry and not conn.connect.properties.get("Session-Expiry-Interval"):
        raise ProtocolError("a session that ends with its connection cannot be prolonged", PROTOCOL_ERROR)
    if expiry is not None:
        conn.session.expiry = conn.server.expiry(expiry)
    if not code:
        conn.will = None
    conn.taken()
    conn.close(records.goodbye(code))


_ANSWERS: dict[int, Answer] = {
    framing.PUBACK: _ignore,
    framing.PUBREC: _ignore,
    framing.PUBREL: _release,
    framing.PUBCOMP: _ignore,
    framing.SUBSCRIBE: _subscribe,
    framing.UNSUBSCRIBE: _unsubscribe,
    framing.PINGREQ: _ping,
    framing.DISCONNECT: _disconnect,
}

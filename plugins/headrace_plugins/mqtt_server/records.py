"""The events a connection makes: their columns, as EMQX names them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from headrace import UNDEFINED, Event, new_id, now_ms
from headrace_plugins._mqtt.codec import Connect, Will
from headrace_plugins._mqtt.messages import COLUMNS, message
from headrace_plugins._mqtt.properties import pub_props
from headrace_plugins.mqtt_server.proxied import Origin

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.connection import Connection

_PROTOCOL = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}
_CONNACK_3 = {
    0: "connection_accepted",
    1: "unacceptable_protocol_version",
    2: "client_identifier_not_valid",
    3: "server_unavaliable",  # EMQX's spelling, which rules compare with
    4: "malformed_username_or_password",
    5: "unauthorized_client",
}
_REASONS = {
    0x00: "success",
    0x04: "disconnect_with_will_message",
    0x80: "unspecified_error",
    0x81: "malformed_packet",
    0x82: "protocol_error",
    0x83: "implementation_specific_error",
    0x84: "unsupported_protocol_version",
    0x85: "client_identifier_not_valid",
    0x86: "bad_username_or_password",
    0x87: "not_authorized",
    0x88: "server_unavailable",
    0x89: "server_busy",
    0x8A: "banned",
    0x8C: "bad_authentication_method",
    0x90: "topic_name_invalid",
    0x93: "receive_maximum_exceeded",
    0x94: "topic_alias_invalid",
    0x95: "packet_too_large",
    0x96: "message_rate_too_high",
    0x97: "quota_exceeded",
    0x98: "administrative_action",
    0x99: "payload_format_invalid",
    0x9A: "retain_not_supported",
    0x9B: "qos_not_supported",
    0x9F: "connection_rate_exceeded",
}

MESSAGE = COLUMNS | {"clientid", "username", "peerhost", "peername"}
_CLIENT = frozenset(
    ("event", "id", "clientid", "username", "peerhost", "peername", "sockname", "proto_name", "proto_ver")
) | {"timestamp", "node"}
_CONNECT = _CLIENT | {"keepalive", "clean_start", "expiry_interval", "conn_props"}
EVENTS = {
    "client.connected": _CONNECT | {"receive_maximum", "is_bridge", "connected_at"},
    "client.disconnected": _CLIENT | {"reason", "disconn_props", "connected_at", "disconnected_at"},
    "client.connack": _CONNECT | {"reason_code"},
    "client.check_authn_complete": _CLIENT | {"reason_code", "is_superuser", "is_anonymous"},
    "client.check_authz_complete": _CLIENT | {"action", "topic", "result", "authz_source"},
    "message.dropped": MESSAGE | {"reason"},
}
"""The events there are besides messages, and the columns each may have."""
SUBSCRIPTIONS = {
    "session.subscribed": _CLIENT | {"topic", "qos", "sub_props"},
    "session.unsubscribed": _CLIENT | {"topic", "unsub_props"},
}
"""Those there are when subscriptions are granted."""


class Peer:
    """Where a connection comes from, and the common name of its certificate."""

    __slots__ = ("common_name", "host", "name", "sockname")

    def __init__(self, transport: asyncio.BaseTransport, origin: Origin | None) -> None:
        peername = origin.peername if origin else transport.get_extra_info("peername")
        self.host: str = sys.intern(peername[0]) if peername else ""
        self.name = _address(peername)
        # many connections share this, and perhaps the host
        self.sockname = sys.intern(_address(origin.sockname if origin else transport.get_extra_info("sockname")))
        self.common_name = _common_name(transport.get_extra_info("peercert"))


def _address(name: tuple[Any, ...] | None) -> str:
    if not name:  # it was gone before we looked
        return ""
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _common_name(certificate: dict[str, Any] | None) -> str | None:
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None


def common(clientid: str, username: str | None, peer: Peer) -> dict[str, Any]:
    """The columns of ``message.publish`` that all messages of a connection share."""
    return {
        "clientid": clientid,
        "username": UNDEFINED if username is None else username,  # there for SELECT *, as in EMQX
        "peerhost": peer.host,
        "peername": peer.name,
    }


def will_message(will: Will, base: dict[str, Any]) -> Event:
    """A will as the message it is."""
    properties = {name: value for name, value in will.properties.items() if name != "Will-Delay-Interval"}
    header = will.qos << 1 | will.retain
    return message(base, base["clientid"], will.topic, will.payload, header, properties, now_ms())


def connected(conn: Connection, connect: Connect) -> dict[str, Any]:
    """``client.connected``, its own columns."""
    assert conn.session is not None
    return {
        "keepalive": connect.keepalive,
        "clean_start": connect.clean_start,
        "receive_maximum": connect.properties.get("Receive-Maximum", 65535),
        "expiry_interval": int(conn.session.expiry),
        "is_bridge": False,
        "conn_props": pub_props(dict(connect.properties)),
        "connected_at": conn.connected_at,
    }


def disconnected(conn: Connection, connect: Connect) -> dict[str, Any]:
    """``client.disconnected``, its own columns."""
    return {
        "reason": conn.reason,
        "disconn_props": pub_props(dict(conn.properties)),
        "connected_at": conn.connected_at,
        "disconnected_at": now_ms(),
    }


def connack(connect: Connect, reason_code: str) -> dict[str, Any]:
    """``client.connack``, its own columns: an attempt to connect, and what came of it."""
    return {
        "reason_code": reason_code,
        "keepalive": connect.keepalive,
        "clean_start": connect.clean_start,
        "expiry_interval": connect.properties.get("Session-Expiry-Interval", 0),
        "conn_props": pub_props(dict(connect.properties)),
    }


def reason_code(version: int, code: int) -> str:
    """The name EMQX gives a CONNACK's code."""
    names = _REASONS if version == 5 else _CONNACK_3
    return names.get(code, f"reason_code_{code:#04x}")


def goodbye(code: int) -> str:
    """The name EMQX gives the reason code of a client's DISCONNECT."""
    return reason_code(5, code) if code else "normal"


def client_event(conn: Connection, connect: Connect, name: str, own: dict[str, Any], node: str) -> Event:
    """The event ``name`` of a client: its own columns, and those that all have."""
    now, id = now_ms(), new_id()
    columns = {
        "event": name,
        **own,
        "id": id,
        "clientid": connect.clientid,
        "peerhost": conn.peer.host,
        "peername": conn.peer.name,
        "sockname": conn.peer.sockname,
        "proto_name": _PROTOCOL[connect.version],
        "proto_ver": connect.version,
        "timestamp": now,
        "node": node,
    }
    if connect.username is not None:
        columns["username"] = connect.username
    return Event(columns, id, connect.clientid or conn.peer.name, now)


def dropped(event: Event, reason: str) -> Event:
    """``message.dropped``: a message that is gone, and why."""
    return Event({**event.columns, "event": "message.dropped", "reason": reason}, event.id, event.key, event.timestamp)

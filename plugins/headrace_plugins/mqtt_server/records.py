"""The events a connection makes: their columns, as EMQX names them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from headrace import Event, new_id, now_ms
from headrace_plugins._mqtt.codec import Connect, Will, pub_props, text_or_bytes

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.connection import Connection

FLAGS = {bits: {"retain": bool(bits & 1), "dup": bool(bits & 8)} for bits in (0, 1, 8, 9)}
"""The column ``flags`` by the bits of a PUBLISH's first byte."""
_PROTOCOL = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}


class Peer:
    """Where a connection comes from, and the common name of its certificate."""

    __slots__ = ("common_name", "host", "name", "sockname")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        peername = transport.get_extra_info("peername")
        self.host: str = peername[0] if peername else ""
        self.name = _address(peername)
        self.sockname = _address(transport.get_extra_info("sockname"))
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


def message_base(clientid: str, username: str | None, peer: Peer, node: str) -> dict[str, Any]:
    """The columns of ``message.publish`` that all messages of a connection share."""
    base: dict[str, Any] = {"event": "message.publish", "clientid": clientid}
    if username is not None:
        base["username"] = username
    return {**base, "peerhost": peer.host, "peername": peer.name, "pub_props": {}, "node": node}


def will_message(will: Will, base: dict[str, Any], source: str) -> Event:
    """A will as the message it is."""
    now, id = now_ms(), new_id()
    properties = {name: value for name, value in will.properties.items() if name != "Will-Delay-Interval"}
    columns = {
        **base,
        "id": id,
        "topic": will.topic,
        "payload": text_or_bytes(will.payload),
        "qos": will.qos,
        "flags": FLAGS[int(will.retain)],
        "pub_props": pub_props(properties),
        "publish_received_at": now,
        "timestamp": now,
    }
    return Event(columns, id=id, key=base["clientid"], timestamp=now, source=source)


def connected(conn: Connection, connect: Connect, node: str, source: str) -> Event:
    """``client.connected``."""
    assert conn.session is not None
    return _client_event(
        conn,
        connect,
        node,
        source,
        {
            "event": "client.connected",
            "keepalive": connect.keepalive,
            "clean_start": connect.clean_start,
            "receive_maximum": connect.properties.get("Receive-Maximum", 65535),
            "expiry_interval": int(conn.session.expiry),
            "is_bridge": False,
            "conn_props": pub_props(dict(connect.properties)),
            "connected_at": conn.connected_at,
        },
    )


def disconnected(conn: Connection, connect: Connect, node: str, source: str) -> Event:
    """``client.disconnected``."""
    return _client_event(
        conn,
        connect,
        node,
        source,
        {
            "event": "client.disconnected",
            "reason": conn.reason,
            "disconn_props": pub_props(dict(conn.properties)),
            "connected_at": conn.connected_at,
            "disconnected_at": now_ms(),
        },
    )


def _client_event(conn: Connection, connect: Connect, node: str, source: str, own: dict[str, Any]) -> Event:
    now, id = now_ms(), new_id()
    columns = {
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
    return Event(columns, id=id, key=connect.clientid, timestamp=now, source=source)

"""The events a connection makes: their columns, as EMQX names them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from headrace import Event, new_id, now_ms
from headrace_plugins._mqtt.codec import Connect, Will, pub_props

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.connection import Connection

FLAGS = {bits: {"retain": bool(bits & 1), "dup": bool(bits & 8)} for bits in (0, 1, 8, 9)}
"""The column ``flags`` by the bits of a PUBLISH's first byte."""
_OWN = ("id", "topic", "payload", "qos", "flags", "publish_received_at", "timestamp")
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
    """The columns of ``message.publish`` for one connection; a copy with ``_OWN`` filled in is a message."""
    base: dict[str, Any] = {"event": "message.publish", "clientid": clientid}
    if username is not None:
        base["username"] = username
    base |= {"peerhost": peer.host, "peername": peer.name}
    return {**base, **dict.fromkeys(_OWN), "pub_props": {}, "node": node}


def message(
    base: dict[str, Any], topic: str, raw: bytes, qos: int, flags: int, found: dict[str, Any], now: int
) -> Event:
    """``message.publish``. The hot path: a copy and seven stores cost half of what a new dict does."""
    columns = base.copy()
    columns["id"] = id = new_id()
    columns["topic"] = topic
    try:
        columns["payload"] = raw.decode()
    except UnicodeDecodeError:
        columns["payload"] = raw
    columns["qos"] = qos
    columns["flags"] = FLAGS[flags]
    columns["publish_received_at"] = columns["timestamp"] = now
    if found:
        columns["pub_props"] = pub_props(found)
    return Event(columns, id=id, key=base["clientid"], timestamp=now)


def will_message(will: Will, base: dict[str, Any]) -> Event:
    """A will as the message it is."""
    properties = {name: value for name, value in will.properties.items() if name != "Will-Delay-Interval"}
    return message(base, will.topic, will.payload, will.qos, int(will.retain), properties, now_ms())


def connected(conn: Connection, connect: Connect, node: str) -> Event:
    """``client.connected``."""
    assert conn.session is not None
    return _client_event(
        conn,
        connect,
        node,
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


def disconnected(conn: Connection, connect: Connect, node: str) -> Event:
    """``client.disconnected``."""
    return _client_event(
        conn,
        connect,
        node,
        {
            "event": "client.disconnected",
            "reason": conn.reason,
            "disconn_props": pub_props(dict(conn.properties)),
            "connected_at": conn.connected_at,
            "disconnected_at": now_ms(),
        },
    )


def _client_event(conn: Connection, connect: Connect, node: str, own: dict[str, Any]) -> Event:
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
    return Event(columns, id=id, key=connect.clientid, timestamp=now)

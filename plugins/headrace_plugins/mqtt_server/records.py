"""The events a connection makes: their columns, as EMQX names them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from headrace import Event, new_id, now_ms
from headrace_plugins._mqtt.codec import Connect, Will, pub_props
from headrace_plugins._mqtt.messages import message

if TYPE_CHECKING:
    from headrace_plugins.mqtt_server.connection import Connection

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


def common(clientid: str, username: str | None, peer: Peer) -> dict[str, Any]:
    """The columns of ``message.publish`` that all messages of a connection share."""
    columns = {"clientid": clientid}
    if username is not None:
        columns["username"] = username
    return columns | {"peerhost": peer.host, "peername": peer.name}


def will_message(will: Will, base: dict[str, Any]) -> Event:
    """A will as the message it is."""
    properties = {name: value for name, value in will.properties.items() if name != "Will-Delay-Interval"}
    header = will.qos << 1 | will.retain
    return message(base, base["clientid"], will.topic, will.payload, header, properties, now_ms())


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

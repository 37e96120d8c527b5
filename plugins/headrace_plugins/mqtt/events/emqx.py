"""EMQX: ``$SYS/brokers/<node>/clients/<clientid>/<event>``; RMQTT writes the same topics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace_plugins.mqtt.events.base import Adapter, Made, address_of, object_of, whole

_NAMES = {
    "connected": "client.connected",
    "disconnected": "client.disconnected",
    "subscribed": "session.subscribed",
    "unsubscribed": "session.unsubscribed",
}
_SAME = (
    *("clientid", "username", "proto_name", "proto_ver", "keepalive", "clean_start", "receive_maximum"),
    *("expiry_interval", "conn_props", "disconn_props", "connected_at", "disconnected_at", "client_attrs", "reason"),
)


class Emqx(Adapter):
    """Facts, as JSON. A client id may hold slashes: the event is the last level of the topic, the id in the payload."""

    source = "emqx"
    confidence = "fact"

    def filters(self, wanted: frozenset[str]) -> list[str]:
        return ["$SYS/brokers/+/clients/#"] if wanted & set(_NAMES.values()) else []

    def read(self, topic: str, payload: bytes, retained: bool) -> Iterator[Made]:
        levels = topic.split("/")
        name = _NAMES.get(levels[-1])
        found = object_of(payload)
        if name is None or levels[:2] != ["$SYS", "brokers"] or levels[3:4] != ["clients"] or "clientid" not in found:
            return
        columns: dict[str, Any] = {key: found[key] for key in _SAME if found.get(key, "undefined") != "undefined"}
        columns |= {"node": levels[2], **address_of(found.get("ipaddress"))}
        if "clean_session" in found:
            columns["clean_start"] = found["clean_session"]
        if name.startswith("session."):
            options = found.get("subopts") or {}
            columns |= {"topic": found.get("topic"), "qos": options.get("qos")}
            columns["sub_props" if name.endswith(".subscribed") else "unsub_props"] = options.get("sub_props", {})
        yield Made(name, columns, whole(found.get("ts")))

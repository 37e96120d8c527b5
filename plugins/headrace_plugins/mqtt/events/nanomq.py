"""NanoMQ: ``$SYS/brokers/connected`` and ``$SYS/brokers/disconnected``, one topic each for all clients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from headrace_plugins.mqtt.events.base import Adapter, Made, object_of, whole

_TOPICS = {"$SYS/brokers/connected": "client.connected", "$SYS/brokers/disconnected": "client.disconnected"}
_REASONS = {
    0x00: "normal",
    0x04: "normal",
    0x81: "protocol_error",
    0x82: "protocol_error",
    0x87: "not_authorized",
    0x8B: "server_shutting_down",
    0x8D: "keepalive_timeout",
    0x8E: "takenover",
    0x98: "kicked",
}
_PAIR = re.compile(rb'"(\w+)"\s*:\s*(?:"((?:[^"\\]|\\.|"(?!\s*[,}]))*)"|(-?\d+))')


class NanoMq(Adapter):
    """Facts, as JSON whose strings are not escaped: what does not parse is read pair by pair."""

    source = "nanomq"
    confidence = "fact"

    def filters(self, wanted: frozenset[str]) -> list[str]:
        return [
            topic
            for topic, name in _TOPICS.items()
            if name in wanted or (name == "client.connected" and "client.connack" in wanted)
        ]

    def read(self, topic: str, payload: bytes, retained: bool) -> Iterator[Made]:
        name = _TOPICS.get(topic)
        found = object_of(payload) or _pairs(payload)
        if name is None or "client_id" not in found:
            return
        columns = {
            "clientid": found["client_id"],
            "username": found.get("username") or None,
            "peerhost": found.get("IPv4"),
        }
        at = whole(found.get("ts"))
        if name == "client.disconnected":
            reason = _code(found.get("reason_code"))
            yield Made(name, columns | {"reason": _REASONS.get(reason, f"reason_code_{reason:#04x}")}, at)
            return
        columns |= {key: found.get(key) for key in ("proto_name", "proto_ver", "keepalive")}
        columns["clean_start"] = bool(found.get("clean_start"))
        code = _code(found.get("return_code"))
        yield Made(
            "client.connack", columns | {"reason_code": "success" if not code else f"reason_code_{code:#04x}"}, at
        )
        if not code:
            yield Made(name, columns | {"connected_at": at}, at)


def _code(value: Any) -> int:
    """A code as hexadecimal digits."""
    try:
        return int(str(value or "0"), 16)
    except ValueError:
        return 0x80


def _pairs(payload: bytes) -> dict[str, Any]:
    return {
        key.decode(): int(number) if number else text.decode("utf-8", "replace")
        for key, text, number in _PAIR.findall(payload)
    }

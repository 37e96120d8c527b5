"""Mosquitto: the lines of its log, on ``$SYS/broker/log/…`` with ``log_dest topic``."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from headrace_plugins.mqtt.events.base import Adapter, Made

_NOTICE, _ERROR = "$SYS/broker/log/N", "$SYS/broker/log/E"
_SUBSCRIBE, _UNSUBSCRIBE = "$SYS/broker/log/M/subscribe", "$SYS/broker/log/M/unsubscribe"
_PROTOCOLS = {"1": 3, "2": 4, "5": 5}
_UNKNOWN = "<unknown>"  # before its CONNECT was read

# a client id is chosen by the client and may hold anything: greedy, and anchored at the end of the line
_STAMP = re.compile(r"(?:(\d{9,11})|\d{4}-\d\d-\d\d[T ][\d:.]+[+\-Z\d:]*): ")
_CONNECTED = re.compile(
    r"New (?P<what>client|bridge) connected from (?P<peer>\S+) as (?P<clientid>.*) "
    r"\((?:p(?P<proto>\d+), )?c(?P<clean>[01]), k(?P<keepalive>\d+)(?:, u'(?P<username>.*)')?\)\.",
    re.DOTALL,
)
_GONE = tuple(
    (re.compile(pattern, re.DOTALL), reason)
    for pattern, reason in (
        (r"Client (?P<clientid>.*) already connected, closing old connection\.", "takenover"),
        (r"Client (?P<clientid>.*) closed its connection\.", "tcp_closed"),
        (r"Socket error on client (?P<clientid>.*), disconnecting\.", "tcp_closed"),
        (r"Client (?P<clientid>.*) has exceeded timeout, disconnecting\.", "keepalive_timeout"),
        (r"Client (?P<clientid>.*) disconnected, not authorised\.", "not_authorized"),
        (r"Client (?P<clientid>.*) disconnected due to (?P<why>[\w ]+)\.", ""),
        (r"Client (?P<clientid>.*) been disconnected by administrative action\.", "kicked"),
        (r"Client (?P<clientid>.*) disconnected: (?P<why>[^.]+)\.", ""),
        (r"Client (?P<clientid>.*) disconnected\.", "normal"),
    )
)


class Mosquitto(Adapter):
    """Lines for people, so only likely: an id that looks like the end of a line can fake one."""

    source = "mosquitto"
    confidence = "likely"

    def filters(self, wanted: frozenset[str]) -> list[str]:
        filters = []
        if wanted & {"client.connected", "client.disconnected", "client.connack"}:
            filters += [_NOTICE, _ERROR]
        filters += [_SUBSCRIBE] if "session.subscribed" in wanted else []
        return filters + ([_UNSUBSCRIBE] if "session.unsubscribed" in wanted else [])

    def read(self, topic: str, payload: bytes, retained: bool) -> Iterator[Made]:
        line = payload.decode("utf-8", "replace")
        at = None
        if stamp := _STAMP.match(line):
            line = line[stamp.end() :]
            seconds = int(stamp[1] or 0)
            if seconds and abs(time.time() - seconds) > 2:  # else our own clock, which has milliseconds
                at = seconds * 1000
        if topic in (_NOTICE, _ERROR):
            yield from self._client(line, at)
        elif topic == _SUBSCRIBE:
            clientid, _, rest = line.rpartition(" ")
            clientid, _, qos = clientid.rpartition(" ")
            if clientid and qos in ("0", "1", "2"):
                columns = {"clientid": clientid, "topic": rest, "qos": int(qos), "sub_props": {}}
                yield Made("session.subscribed", columns, at)
        elif topic == _UNSUBSCRIBE:
            clientid, _, filter = line.rpartition(" ")
            if clientid:
                yield Made("session.unsubscribed", {"clientid": clientid, "topic": filter, "unsub_props": {}}, at)

    def _client(self, line: str, at: int | None) -> Iterator[Made]:
        if found := _CONNECTED.fullmatch(line):
            host, colon, port = found["peer"].rpartition(":")
            known = bool(colon and port.isdigit() and host)
            yield Made(
                "client.connected",
                {
                    "clientid": found["clientid"],
                    "username": found["username"],
                    "peerhost": host if known else found["peer"],
                    "peername": found["peer"] if known else None,
                    "proto_name": "MQIsdp" if found["proto"] == "1" else "MQTT",
                    "proto_ver": _PROTOCOLS.get(found["proto"] or ""),
                    "keepalive": int(found["keepalive"]),
                    "clean_start": found["clean"] == "1",
                    "is_bridge": found["what"] == "bridge",
                    "connected_at": at or int(time.time() * 1000),
                },
                at,
            )
            return
        for pattern, reason in _GONE:
            if found := pattern.fullmatch(line):
                why = reason or found["why"].strip().lower().replace(" ", "_")
                if found["clientid"] == _UNKNOWN:
                    yield Made("client.connack", {"reason_code": why}, at)
                else:
                    at_ms = at or int(time.time() * 1000)
                    columns = {"clientid": found["clientid"], "reason": why, "disconnected_at": at_ms}
                    yield Made("client.disconnected", columns, at)
                return

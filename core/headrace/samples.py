"""A sample of every event there is: for trying queries on, and for lists to choose from.

The columns are those of EMQX's rule events. What a source cannot know is missing from its own events.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from headrace.events import Event, new_id, now_ms
from headrace.topics import MESSAGE, event_names, event_topics

__all__ = ["SampleEvent", "event_named", "make_event", "sample", "samples"]


class SampleEvent(NamedTuple):
    """An event's name, what stands for it in FROM, when it happens, and columns as it could have them."""

    name: str
    topics: tuple[str, ...]
    text: str
    columns: Mapping[str, Any]


_WHO: Final = {"clientid": "sensor-1", "username": "ada"}
_CLIENT: Final = {**_WHO, "peername": "192.0.2.7:50211"}
_SESSION: Final = {**_CLIENT, "sockname": "192.0.2.1:1883", "proto_name": "MQTT", "proto_ver": 5}
_CONNECT: Final = {
    **_SESSION,
    "keepalive": 60,
    "clean_start": True,
    "expiry_interval": 0,
    "conn_props": {"User-Property": {"site": "north"}},
    "connected_at": None,
}
_MESSAGE: Final = {
    **_CLIENT,
    "peerhost": "192.0.2.7",
    "topic": "t/1",
    "payload": '{"temp": 21.5}',
    "qos": 1,
    "flags": {"retain": False, "dup": False},
    "pub_props": {},
    "publish_received_at": None,
}
_RECEIVED: Final = {**_MESSAGE, "from_clientid": "sensor-1", "from_username": "ada", "clientid": "backend"}
_CHECK: Final = {**_CLIENT, "peerhost": "192.0.2.7", "client_attrs": {}}
_SUBSCRIPTION: Final = {**_CHECK, "topic": "t/#", "qos": 1}
_ALARM: Final = {"name": "high_cpu", "details": {"usage": 91}, "message": "CPU is at 91 %", "activated_at": None}

_SAMPLES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    MESSAGE: ("a client publishes a message", _MESSAGE),
    "message.delivered": ("a message reaches a client", _RECEIVED),
    "message.acked": ("a client acknowledges a message", {**_RECEIVED, "puback_props": {}}),
    "message.dropped": ("nobody gets a message", {**_MESSAGE, "reason": "no_subscribers"}),
    "delivery.dropped": ("one client does not get a message", {**_RECEIVED, "reason": "queue_full"}),
    "client.connected": (
        "a client connects",
        {**_CONNECT, "receive_maximum": 65535, "is_bridge": False, "client_attrs": {}},
    ),
    "client.disconnected": (
        "a client's connection ends",
        {
            **_SESSION,
            "reason": "normal",
            "disconn_props": {},
            "connected_at": None,
            "disconnected_at": None,
            "client_attrs": {},
        },
    ),
    "client.connack": ("a client is let in, or turned away", {**_CONNECT, "reason_code": "success"}),
    "client.ping": ("a client says that it is there", _CONNECT),
    "client.check_authz_complete": (
        "it is decided whether a client may publish or subscribe",
        {**_CHECK, "topic": "t/1", "action": "publish", "result": "allow", "authz_source": "file"},
    ),
    "client.check_authn_complete": (
        "it is decided whether a client is who it says",
        {**_CHECK, "reason_code": "success", "is_superuser": False, "is_anonymous": False},
    ),
    "session.subscribed": ("a client subscribes", {**_SUBSCRIPTION, "sub_props": {}}),
    "session.unsubscribed": ("a client unsubscribes", {**_SUBSCRIPTION, "unsub_props": {}}),
    "schema.validation_failed": ("a message does not keep to its schema", {**_MESSAGE, "validation": "readings"}),
    "message.transformation_failed": ("a message cannot be transformed", {**_MESSAGE, "transformation": "readings"}),
    "alarm.activated": ("something is wrong with the broker", _ALARM),
    "alarm.deactivated": ("it is right again", {**_ALARM, "deactivated_at": None}),
}


def samples() -> Iterator[SampleEvent]:
    """All of them, messages first."""
    for name in _SAMPLES:
        yield sample(name)


def sample(name: str) -> SampleEvent:
    """The sample of one event, by any of its names. ValueError, with the near ones, if there is no such event."""
    known = event_named(name)
    if known is None:
        spelt = [spelling for each in event_names() for spelling in (each, *event_topics(each))]
        near = difflib.get_close_matches(name, spelt, 1)
        raise ValueError(f"there is no event {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    text, columns = _SAMPLES[known]
    now = now_ms()
    filled = {column: now if value is None else value for column, value in columns.items()}  # None is a time
    whole = {"event": known, "id": new_id(), **filled, "timestamp": now, "node": "headrace@localhost"}
    return SampleEvent(known, event_topics(known), text, whole)


def event_named(name: str) -> str | None:
    """``client.connected`` for its name, ``$events/client/connected``, ``client_connected``; None if unknown."""
    for known in event_names():
        spellings = {known, known.replace(".", "_"), *event_topics(known)}
        if name in spellings or f"$events/{name}" in spellings:
            return known
    return None


def make_event(columns: Mapping[str, Any], source: str = "") -> Event:
    """The event of these columns, as a source would have made it."""
    whole = dict(columns)
    now = now_ms()
    whole.setdefault("id", new_id())
    whole.setdefault("timestamp", now)
    key = whole.get("clientid") or whole.get("topic") or ""
    timestamp = whole["timestamp"]
    return Event(
        whole,
        id=str(whole["id"]),
        key=str(key),
        timestamp=timestamp if isinstance(timestamp, int) else now,
        source=source,
    )

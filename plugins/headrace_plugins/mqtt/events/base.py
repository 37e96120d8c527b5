"""What the adapters have in common: a message becomes client events, in the columns of EMQX."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import orjson

from headrace import Event, new_id

__all__ = ["Adapter", "Derived", "Made", "address_of", "object_of", "whole"]


class Made(NamedTuple):
    """An event as the adapter knows it: its name, its columns, and when it was, in Unix milliseconds."""

    name: str
    columns: dict[str, Any]
    timestamp: int | None = None


class Adapter(ABC):
    """One broker's way of telling."""

    source: ClassVar[str]
    confidence: ClassVar[str]
    """``fact``: the broker says so; ``likely``: it was read out of a log; ``inferred``: the device said so."""

    @abstractmethod
    def filters(self, wanted: frozenset[str]) -> list[str]:
        """What to subscribe to for these events."""

    @abstractmethod
    def read(self, topic: str, payload: bytes, retained: bool) -> Iterator[Made]:
        """The events in a message; none if it holds none, or is broken."""


class Derived:
    """Turns messages into the events that rules read, and leaves out our own client."""

    def __init__(self, adapter: Adapter, wanted: frozenset[str], own: str, node: str, *, snapshots: bool) -> None:
        self._adapter = adapter
        self._wanted = wanted
        self._own = own
        self._node = node
        self._snapshots = snapshots

    def __call__(self, topic: str, payload: bytes, retained: bool, now: int) -> list[Event]:
        events = []
        for name, own, at in self._adapter.read(topic, payload, retained):
            clientid = own.get("clientid")
            if name not in self._wanted or clientid == self._own or (retained and not self._snapshots):
                continue
            id, timestamp = new_id(), at or now
            columns = {
                "event": name,
                "node": self._node,
                **{key: value for key, value in own.items() if value is not None},
                "id": id,
                "timestamp": timestamp,
                "event_source": self._adapter.source,
                "confidence": self._adapter.confidence,
            }
            if retained:
                columns["snapshot"] = True
            events.append(Event(columns, id, str(clientid or topic), timestamp))
        return events


def object_of(payload: bytes) -> dict[str, Any]:
    """A JSON object; empty if it is none."""
    try:
        found = orjson.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def whole(value: Any) -> int | None:
    """A whole number above 0, or nothing."""
    return value if type(value) is int and value > 0 else None


def address_of(address: Any) -> dict[str, str]:
    """``peerhost``, and ``peername`` if the port is there: EMQX often gives the address alone."""
    if not isinstance(address, str):
        return {}
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return {"peerhost": host.removeprefix("[").removesuffix("]"), "peername": address}
    return {"peerhost": address}

"""Last wills and birth messages: what devices say of themselves, or have said when they are gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headrace import Event
from headrace.topics import matches
from headrace_plugins.mqtt.clientid import parse_mapping
from headrace_plugins.mqtt.events.base import Adapter, Made, object_of
from headrace_plugins.mqtt.events.options import StatusTopic
from headrace_plugins.mqtt.events.sparkplug import FILTERS, Births


class Will(Adapter):
    """Inferred: a device that says it is there has connected, and a will says that it is gone."""

    source = "will"
    confidence = "inferred"

    def __init__(self, status: Sequence[StatusTopic], *, sparkplug: bool) -> None:
        self._births = Births() if sparkplug else None
        self._status = [(each, parse_mapping(each.clientid)) for each in status]

    def filters(self, wanted: frozenset[str]) -> list[str]:
        if not wanted & {"client.connected", "client.disconnected"}:
            return []
        return [each.topic for each, _ in self._status] + list(FILTERS if self._births else ())

    def read(self, topic: str, payload: bytes, retained: bool) -> Iterator[Made]:
        for each, clientid_of in self._status:
            if not matches(each.topic, topic):
                continue
            text = payload.decode("utf-8", "replace")
            state = _state(text, payload, each.path)
            clientid = clientid_of(Event({"topic": topic, "payload": text, "pub_props": {}}, "-", "", 1))
            if clientid is not None and state in each.online:
                yield Made("client.connected", {"clientid": clientid, "reason": "birth"})
            elif clientid is not None and state in each.offline:
                yield Made("client.disconnected", {"clientid": clientid, "reason": "will"})
            return
        if self._births is not None:
            yield from self._births.read(topic, payload)


def _state(text: str, payload: bytes, path: str | None) -> str:
    found: Any = object_of(payload) if text.lstrip()[:1] == "{" else text
    for step in (path or "state").split("."):
        if isinstance(found, dict):
            found = found.get(step, "")
    return str(found).strip().lower()

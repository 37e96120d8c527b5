"""Events that a rule of EMQX publishes again, as it saw them; also the topics ``$event/…`` of EMQX 4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.topics import event_topics, matches
from headrace_plugins._mqtt.clientevents import NAMES
from headrace_plugins.mqtt.events.base import Adapter, Made, address_of, object_of, whole

_OLD = {"client_subscribed": "session.subscribed", "client_unsubscribed": "session.unsubscribed"}
_BY_LEVEL = {event_topics(name)[-1].rpartition("/")[2]: name for name in NAMES} | _OLD


class Republished(Adapter):
    """Facts, as JSON in the columns of EMQX's rules, which are ours. The column ``event`` names them, or the topic."""

    source = "emqx"
    confidence = "fact"

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def filters(self, wanted: frozenset[str]) -> list[str]:
        return list(self._topics) if wanted else []

    def read(self, topic: str, payload: bytes, retained: bool) -> Iterator[Made]:
        if not any(matches(filter, topic) for filter in self._topics):
            return
        found = object_of(payload)
        name = found.get("event", _BY_LEVEL.get(topic.rpartition("/")[2]))
        if name not in NAMES or "clientid" not in found:
            return
        columns = {key: value for key, value in found.items() if value != "undefined" and key != "metadata"}
        if "peerhost" not in columns:
            columns |= address_of(found.get("peername"))
        yield Made(name, columns | {"event": name}, whole(found.get("timestamp")))

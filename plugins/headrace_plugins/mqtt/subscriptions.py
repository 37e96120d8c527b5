"""What to subscribe to, what the broker made of it, and one event for each message however many filters it matches."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import topics
from headrace_plugins._files import replace_file
from headrace_plugins._mqtt.framing import MAX_VARINT

if TYPE_CHECKING:  # paho is imported when a source opens
    from paho.mqtt.reasoncodes import ReasonCode

__all__ = [
    "DROPPED",
    "Copies",
    "Remembered",
    "granted",
    "identifier",
    "meeting",
    "of_group",
    "overlapping",
    "without_covered",
]

DROPPED = "$SYS/broker/publish/messages/dropped"
"""Where Mosquitto counts what it dropped."""
WINDOW = 256
"""Messages among which the copies of one are looked for: brokers send them side by side, or nearly."""


def without_covered(filters: Iterable[str]) -> tuple[str, ...]:
    """The filters without those that another one includes, which would bring messages twice from some brokers."""
    wanted = sorted(set(filters))
    index: topics.TopicIndex[str] = topics.TopicIndex()
    for one in wanted:
        if not one.startswith("$share/"):  # a group of its own
            index.add(one, one)

    def covered(narrow: str) -> bool:
        wider = [wide for wide in index.match(narrow) if wide.endswith("#") or not narrow.endswith("#")]
        return any(wide != narrow for wide in wider)

    return tuple(one for one in wanted if one.startswith("$share/") or not covered(one))


def overlapping(filters: Sequence[str]) -> list[str]:
    """Those that share topics with another one of their group. Some brokers send such a message once for each."""
    groups = _by_group(filters)
    named = [(one, *of_group(one)) for one in filters]
    return [one for one, group, filter in named if len(groups[group].meeting(filter)) > 1]


def meeting(filters: Sequence[str], others: Iterable[str]) -> list[str]:
    """Those that share topics with one of the others."""
    groups = _by_group(others)
    named = [(one, *of_group(one)) for one in filters]
    return [one for one, group, filter in named if group in groups and groups[group].meeting(filter)]


def _by_group(filters: Iterable[str]) -> dict[str, topics.TopicIndex[str]]:
    groups: dict[str, topics.TopicIndex[str]] = {}
    for group, filter in map(of_group, filters):
        groups.setdefault(group, topics.TopicIndex()).add(filter, filter)
    return groups


def of_group(filter: str) -> tuple[str, str]:
    """Group and filter of a shared subscription, ``$share/GROUP/FILTER``; of any other, no group and itself."""
    if not filter.startswith("$share/") or filter.count("/") < 2:
        return "", filter
    _, group, rest = filter.split("/", 2)
    return group, rest


def granted(filter: str, asked: int, reason: ReasonCode | None = None) -> dict[str, Any]:
    """A subscription for people: the QoS asked for and granted, or why not; without a ``reason`` it is there anyway."""
    refused = reason is not None and reason.is_failure
    return {
        "filter": filter,
        "asked": asked,
        "granted": None if reason is None or refused else reason.value,
        "refused": str(reason) if refused else None,
    }


def identifier(filter: str) -> int:
    """The subscription identifier of a filter: the same in every run, for queued messages carry it."""
    return zlib.crc32(filter.encode()) % MAX_VARINT + 1


class Copies:
    """Tells the copies of a message, one for each filter it matches, by the subscription identifiers they carry.

    A copy brings what came a moment ago under an identifier that did not; what comes again under the same one was
    published again. While subscriptions take the place of others (``replacing``), to have none is an identifier, too:
    the others may have been made without.
    """

    def __init__(self) -> None:
        self.replacing = False
        self._recent: dict[bytes, set[int]] = {}

    def answered(self) -> None:
        """The broker changed its subscriptions here: copies of what it sent before do not come after."""
        if self.replacing:
            self._recent.clear()

    def is_one(self, topic: str, payload: bytes, qos: int, found: Mapping[str, Any]) -> bool:
        """Is this a copy of a message that came before?"""
        given = found.get("Subscription-Identifier", 0 if self.replacing else None)
        if given is None:
            return False
        ids = set(given) if isinstance(given, list) else {given}
        recent, key = self._recent, _digest(topic, payload, qos)
        seen = recent.pop(key, None)
        copy = seen is not None and not seen & ids
        recent[key] = seen | ids if copy and seen else ids
        if len(recent) > WINDOW:
            del recent[next(iter(recent))]
        return copy


def _digest(topic: str, payload: bytes, qos: int) -> bytes:
    """16 bytes for a message, which may have a megabyte."""
    digest = blake2b(payload, digest_size=16, key=bytes((qos,)))
    digest.update(topic.encode())
    digest.update(len(payload).to_bytes(8, "big"))
    return digest.digest()


class Remembered:
    """The filters a session at the broker has, kept over restarts of headrace in a file if there is one."""

    def __init__(self, path: Path | None, session: str) -> None:
        self._path, self._session = path, session
        self.filters: tuple[str, ...] = ()
        try:
            kept = json.loads(path.read_text()) if path else {}
            if kept.get("session") == session:
                self.filters = tuple(map(str, kept["filters"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # no file, or not one of ours: as for a new session

    def keep(self, filters: Iterable[str]) -> None:
        """These are what the session has now. OSError if they could not be written."""
        wanted = tuple(filters)
        if wanted == self.filters:
            return
        self.filters = wanted
        if self._path is not None:
            replace_file(self._path, json.dumps({"session": self._session, "filters": wanted}))

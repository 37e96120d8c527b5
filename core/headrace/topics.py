"""MQTT topic filters: matching, and an index from topic to whoever asked for it.

Rules of MQTT 5, 4.7: ``+`` is one level, ``#`` (last) is any number of levels including none, and a filter that
begins with a wildcard does not match a topic that begins with ``$``.
"""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypeVar

from pydantic import AfterValidator

__all__ = [
    "EVENTS", "MESSAGE", "TopicFilter", "TopicFilters", "TopicIndex", "event_named", "event_names", "event_topics",
    "matches", "overlap", "problem",
]  # fmt: skip

T = TypeVar("T")


def matches(filter: str, topic: str) -> bool:
    """Does one filter match one topic?"""
    if filter == topic:
        return True
    if topic[:1] == "$" and filter[:1] in ("+", "#"):
        return False
    wanted, levels = filter.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#" and i == len(wanted) - 1:
            return True
        if i >= len(levels) or level not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


def overlap(one: str, other: str) -> bool:
    """Is there a topic that matches both filters?"""
    first, second = one.split("/"), other.split("/")
    if (one[:1] == "$" and second[0] in ("+", "#")) or (other[:1] == "$" and first[0] in ("+", "#")):
        return False
    for a, b in zip(first, second, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    rest = first[len(second) :] or second[len(first) :]
    return not rest or rest == ["#"]


def problem(filter: str) -> str | None:
    """Why this text is no topic filter, or None."""
    if not filter:
        return "a topic filter cannot be empty"
    if "\0" in filter or len(filter.encode("utf-8", "surrogatepass")) > 65535:
        return "a topic filter is at most 65,535 bytes and has no NUL"
    levels = filter.split("/")
    for i, level in enumerate(levels):
        if "#" in level and (level != "#" or i != len(levels) - 1):
            return "'#' must be a whole level, and the last one"
        if "+" in level and level != "+":
            return "'+' must be a whole level"
    return None


def _checked(filter: str) -> str:
    if why := problem(filter):
        raise ValueError(f"{filter!r}: {why}")
    return filter


def _all_checked(filters: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_checked, filters))


TopicFilter = Annotated[str, AfterValidator(_checked)]
TopicFilters = Annotated[tuple[str, ...], AfterValidator(_all_checked)]
"""Types of options that hold topic filters."""

MESSAGE: Final = "message.publish"
"""The event that a published message is: in FROM its topic stands for it."""

_EVENTS: Final = {
    "message.delivered": ("message/delivered", "message_delivered"),
    "message.acked": ("message/acked", "message_acked"),
    "message.dropped": ("message/dropped", "message_dropped"),
    "delivery.dropped": ("message/delivery_dropped", "delivery_dropped"),
    "client.connected": ("client/connected", "client_connected"),
    "client.disconnected": ("client/disconnected", "client_disconnected"),
    "client.connack": ("client/connack", "client_connack"),
    "client.ping": ("client/ping",),
    "client.check_authz_complete": ("auth/check_authz_complete", "client_check_authz_complete"),
    "client.check_authn_complete": ("auth/check_authn_complete", "client_check_authn_complete"),
    "session.subscribed": ("session/subscribed", "session_subscribed"),
    "session.unsubscribed": ("session/unsubscribed", "session_unsubscribed"),
    "schema.validation_failed": ("schema_validation/failed", "schema_validation_failed"),
    "message.transformation_failed": ("message_transformation/failed", "message_transformation_failed"),
    "alarm.activated": ("sys/alarm_activated",),
    "alarm.deactivated": ("sys/alarm_deactivated",),
}


EVENTS: Final = tuple(_EVENTS)
"""The names of all events but messages."""


def event_named(text: str) -> str | None:
    """The topic of an event by any of its names: ``client.connected``, ``client_connected``, ``$events/client/+``."""
    bare = text.removeprefix("$events/")
    for name, spellings in _EVENTS.items():
        if bare == name or bare in spellings:
            return f"$events/{spellings[0]}"
    wild = bare != text and ("+" in bare or "#" in bare)
    return text if wild and problem(text) is None else None


def event_topics(name: str) -> tuple[str, ...]:
    """The topics that stand for an event in FROM, by its name (the column ``event``).

    ``client.connected`` is ``$events/client/connected`` and, as it was once written, ``$events/client_connected``.
    A message of another broker (``$bridges/mqtt:plant``) is its own topic. No name: no topic.
    """
    if name.startswith(("$bridges/", "$sources/")):
        return (name,)
    return tuple(f"$events/{topic}" for topic in _EVENTS.get(name, ()))


def event_names() -> tuple[str, ...]:
    """Every event EMQX knows, by its name."""
    return MESSAGE, *_EVENTS


class _Node(Generic[T]):
    __slots__ = ("children", "here", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.here: list[T] = []
        self.rest: list[T] = []  # of '#'


class TopicIndex(Generic[T]):
    """A trie of filters. A topic's answer is remembered (bounded), so a known topic costs one dict lookup."""

    def __init__(self, remember: int = 10_000) -> None:
        self._root: _Node[T] = _Node()
        self._remember = remember
        self._known: dict[str, tuple[T, ...]] = {}
        self._order: dict[int, int] = {}  # id of a value → when it came

    def add(self, filter: str, value: T) -> None:
        self._order.setdefault(id(value), len(self._order))
        node = self._root
        levels = filter.split("/")
        for level in levels[:-1]:
            node = node.children.setdefault(level, _Node())
        if levels[-1] == "#":
            node.rest.append(value)
        else:
            node.children.setdefault(levels[-1], _Node()).here.append(value)
        self._known.clear()

    def match(self, topic: str) -> tuple[T, ...]:
        """Every value whose filter matches, each once, in the order they were added."""
        found = self._known.get(topic)
        if found is None:
            values: dict[int, T] = {}
            self._walk(self._root, topic.split("/"), 0, topic[:1] == "$", values)
            found = tuple(sorted(values.values(), key=lambda value: self._order[id(value)]))
            if len(self._known) >= self._remember:
                self._known.clear()
            self._known[topic] = found
        return found

    def meeting(self, filter: str) -> tuple[T, ...]:
        """Every value whose filter has a topic in common with this one (``overlap``), in the order they were added."""
        values: dict[int, T] = {}
        self._meet(self._root, filter.split("/"), 0, values)
        return tuple(sorted(values.values(), key=lambda value: self._order[id(value)]))

    def _meet(self, node: _Node[T], levels: list[str], i: int, out: dict[int, T], top: bool = True) -> None:
        level = levels[i] if i < len(levels) else None
        system = top and levels[0][:1] == "$"
        found = node.rest if not system else []
        if level is None or level == "#":
            found = [*found, *node.here]
        out.update((id(value), value) for value in found)
        if level is None:
            return
        if level in ("+", "#"):  # no wildcard reaches below $SYS and its like
            below = [child for name, child in node.children.items() if not (top and name[:1] == "$")]
        else:
            names = (level,) if system else (level, "+")
            below = [child for name in names if (child := node.children.get(name)) is not None]
        for child in below:
            self._meet(child, levels, i if level == "#" else i + 1, out, top=False)

    def _walk(self, node: _Node[T], levels: list[str], i: int, system: bool, out: dict[int, T]) -> None:
        wild = not (system and i == 0)
        if wild:
            for value in node.rest:
                out.setdefault(id(value), value)
        if i == len(levels):
            for value in node.here:
                out.setdefault(id(value), value)
            return
        child = node.children.get(levels[i])
        if child is not None:
            self._walk(child, levels, i + 1, system, out)
        if wild and (child := node.children.get("+")) is not None and levels[i] != "+":
            self._walk(child, levels, i + 1, system, out)

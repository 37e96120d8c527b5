"""Which topics a device may publish to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from headrace.topics import matches
from headrace_plugins.mqtt_server.config import AclRule

__all__ = ["Rights", "rights_of"]

REMEMBER = 64
"""Topics a device's rights are remembered for: it seldom has more, and there may be many devices."""
LONGEST = 256
"""Characters of a topic that is remembered."""


class Rights(dict[str, bool]):
    """May one device publish to a topic? Asked once for each topic, more or less; ``allowed`` hears of those it may."""

    __slots__ = ("_allowed", "_filters")

    def __init__(self, filters: Sequence[tuple[str, bool]], allowed: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._filters = filters
        self._allowed = allowed

    def __missing__(self, topic: str) -> bool:
        allowed = next((allowed for filter, allowed in self._filters if matches(filter, topic)), False)
        if len(topic) <= LONGEST:
            if len(self) >= REMEMBER:
                self.clear()
            self[topic] = allowed
        if allowed and self._allowed is not None:
            self._allowed(topic)
        return allowed


def rights_of(
    rules: Sequence[AclRule], clientid: str, username: str | None, allowed: Callable[[str], None] | None = None
) -> Rights:
    """The rights of one device: the first filter that matches a topic decides, and without one it is refused."""
    known = {"clientid": clientid, "username": username}
    filters: list[tuple[str, bool]] = []
    for rule in rules:
        if rule.user in (None, username) and rule.clientid in (None, clientid):
            filters += [(filter, False) for one in rule.deny if (filter := _fill_in(one, known, wild=True)) is not None]
            filters += [(filter, True) for one in rule.allow if (filter := _fill_in(one, known)) is not None]
    return Rights(filters, allowed)


def _fill_in(filter: str, known: dict[str, str | None], *, wild: bool = False) -> str | None:
    """The filter with the names of a device. None if one is not known, or would open more than one level."""
    for name, value in known.items():
        place = f"${{{name}}}"
        if place in filter:
            if not value or (not wild and re.search(r"[/+#]", value)):
                return None
            filter = filter.replace(place, value)
    return filter

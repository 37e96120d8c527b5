"""Looking at events as they pass a part. Where nobody looks it costs a glance at an empty map per batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.events import Event

__all__ = ["Look", "Taps"]

Look = Callable[[Sequence[Event]], None]
"""Called with events that pass, in the loop of the engine: it must be quick, change nothing and raise nothing."""


class Taps:
    """Who looks where: ``source:NAME`` what was read, ``rule:NAME`` what came of it, ``sink:NAME`` what it is given."""

    def __init__(self) -> None:
        self.looking: dict[str, list[Look]] = {}

    def add(self, node: str, look: Look) -> None:
        self.looking.setdefault(node, []).append(look)

    def remove(self, node: str, look: Look) -> None:
        looks = self.looking.get(node, [])
        if look in looks:
            looks.remove(look)
        if not looks:
            self.looking.pop(node, None)

    def see(self, node: str, events: Sequence[Event]) -> None:
        """Events pass ``node``. Called only if anybody is ``looking`` anywhere."""
        for look in self.looking.get(node, ()):
            look(events)

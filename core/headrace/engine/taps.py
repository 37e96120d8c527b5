"""Who looks at events as they pass a part: taps, and the tracer. Where nobody does it costs a glance per batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headrace.events import Event
from headrace.lanes import Item

if TYPE_CHECKING:  # it needs packages that few have
    from headrace.engine.tracing import Attempts, Tracer

__all__ = ["Look", "Taps"]

Look = Callable[[Sequence[Event]], None]
"""Called with events that pass, in the loop of the engine: it must be quick, change nothing and raise nothing."""


class Taps:
    """Who looks where: ``source:NAME`` what was read, ``rule:NAME`` what came of it, ``sink:NAME`` what it is given."""

    def __init__(self) -> None:
        self.looking: dict[str, list[Look]] = {}
        self.tracer: Tracer | None = None

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

    def attempts(self, sink: str, items: Sequence[Item]) -> Attempts | None:
        """A sink is given these: what is to be told how it ended, if any of them is traced."""
        return self.tracer.attempts(sink, items) if self.tracer else None

    def gave_up(self, sink: str, event: Event, outcome: str, reason: str) -> None:
        """A sink is done with an event that it has not delivered."""
        if self.tracer:
            self.tracer.gave_up(sink, event, outcome, reason)

"""A query and the event it is tried on, for ``sql`` and its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from headrace.components import Context, Explanation, Offer, Transform
from headrace.config import InvalidConfig, Problem
from headrace.config.problems import Mark, Problems, Text
from headrace.config.tree import Node
from headrace.config.validate import validate
from headrace.errors import HeadraceError, PluginError
from headrace.events import Event
from headrace.explain import came_from
from headrace.registry import Registry
from headrace.samples import samples
from headrace.topics import MESSAGE

__all__ = ["Language", "Tried"]


class Tried(NamedTuple):
    """What a query makes of an event."""

    transform: Transform[Any]
    warnings: Sequence[Problem]
    explanation: Explanation


class Language:
    """A transform whose texts are tried, and the functions they may call."""

    def __init__(self, name: str) -> None:
        """HeadraceError if there is no such transform."""
        self.registry = Registry.discover()
        try:
            self.cls: Any = self.registry.find("transform", name)
        except PluginError as exc:
            raise HeadraceError(self.registry.broken(name) or str(exc)) from None
        self.name = name

    def functions(self) -> dict[str, str]:
        """Every function a query may call, and what it does."""
        given = {name: (call.__doc__ or "").partition("\n")[0] for name, call in self.registry.functions.items()}
        return {**given, **self.cls.functions()}

    def prepare(self, query: str, event: Event) -> tuple[Transform[Any], list[Problem]]:
        """The query, checked as ``lint`` checks it, and its warnings. InvalidConfig points into it."""
        text = Text("query", query)
        begin = Mark(text, 1, 1)
        problems = Problems()
        node = Node(query, begin, begin, span=(0, len(query)))
        functions = self.registry.functions
        config = validate(self.cls.Config, {"query": node}, begin, "", problems, context={"functions": functions})
        if config is None:
            raise InvalidConfig(problems.sorted())
        for found in self.cls.remarks(config, _offers(event)):
            problems.warn(Mark(text, found.line, found.column), found.message)
        return self.cls(config, Context("query", functions=functions)), problems.sorted()

    def try_(self, query: str, event: Event) -> Tried:
        """What the query makes of the event, FROM included."""
        transform, warnings = self.prepare(query, event)
        seen, lines = came_from(transform.inputs(), event)
        if not seen:
            told = Explanation([*lines, "no row: the rule does not see this event"])
        else:
            inner = transform.explain(event)
            told = Explanation([*lines, *inner.lines], inner.rows)
        return Tried(transform, warnings, told)


def _offers(event: Event) -> list[Offer] | None:
    """What EMQX could give, and this event; None for the messages of another broker, of which nothing is known."""
    name = event.get("event", MESSAGE)
    columns = {each.name: frozenset(each.columns) for each in samples()}
    if name not in columns:
        return None
    columns[name] |= frozenset(event.columns)
    return [Offer(columns.pop(MESSAGE), ("#", "$SYS/#"), columns)]

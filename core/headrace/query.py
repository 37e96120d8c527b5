"""A query tried on an event without a rule around it: by ``headrace sql``, its prompt and the API."""

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

    def __init__(self, registry: Registry, name: str = "sql") -> None:
        """HeadraceError if there is no such transform."""
        self.registry = registry
        try:
            self.cls: Any = self.registry.find("transform", name)
        except PluginError as exc:
            raise HeadraceError(self.registry.broken(name) or str(exc)) from None
        self.name = name

    def functions(self) -> dict[str, str]:
        """Every function a query may call, and what it does."""
        given = {name: (call.__doc__ or "").partition("\n")[0] for name, call in self.registry.functions.items()}
        return {**given, **self.cls.functions()}

    def prepare(self, query: str, event: Event | None = None) -> tuple[Transform[Any], list[Problem]]:
        """The query, checked as ``lint`` checks it, and its warnings. InvalidConfig points into it.

        ``event``: one that the rule's sources would give, if that is known.
        """
        text = Text("query", query)
        begin = Mark(text, 1, 1)
        problems = Problems()
        node = Node(query, begin, begin, span=(0, len(query)))
        functions = self.registry.functions
        config = validate(self.cls.Config, {"query": node}, begin, "", problems, context={"functions": functions})
        if config is None:
            raise InvalidConfig(problems.sorted())
        for found in self.cls.remarks(config, None if event is None else _offers(event)):
            problems.warn(Mark(text, found.line, found.column), found.message)
        return self.cls(config, Context("query", functions=functions)), problems.sorted()

    def try_(self, query: str, event: Event) -> Tried:
        """What the query makes of the event, FROM included. InvalidConfig points into the query."""
        transform, warnings = self.prepare(query, event)
        seen, lines = came_from(transform.inputs(), event)
        if not seen:
            told = Explanation([*lines, "no row: the rule does not see this event"])
        else:
            try:
                inner = transform.explain(event)
            except Exception as exc:
                raise HeadraceError(f"{type(exc).__name__}: {exc}") from exc  # a plugin may raise anything
            told = Explanation([*lines, *inner.lines], inner.rows)
        return Tried(transform, warnings, told)


def _offers(event: Event) -> list[Offer] | None:
    """What EMQX could give, and this event; None for the messages of another broker, of which nothing is known."""
    name = event.get("event", MESSAGE)
    columns = {each.name: frozenset(each.columns) for each in samples()}
    if name not in columns:
        return None
    columns[name] |= frozenset(event.columns)
    return [Offer(columns.pop(MESSAGE), None, columns)]

"""``sql``: a query tried on one event."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from headrace.cli.explain import came_from
from headrace.cli.message import add_message, message
from headrace.cli.output import Commands, command
from headrace.components import Context, Explanation, Offer, Transform
from headrace.config import InvalidConfig
from headrace.config.problems import Mark, Problem, Problems, Text
from headrace.config.tree import Node
from headrace.config.validate import validate
from headrace.errors import HeadraceError, PluginError
from headrace.events import Event, json_bytes
from headrace.registry import Registry
from headrace.samples import samples
from headrace.topics import MESSAGE

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    sql = command(commands, "sql", _sql, "try a query on one event: its rows, or why there is none")
    sql.add_argument("query", metavar="QUERY")
    add_message(sql)
    sql.add_argument("--language", default="sql", metavar="TYPE", help="another transform than sql")


def _sql(args: argparse.Namespace) -> int:
    registry = Registry.discover()
    event = message(args)
    transform, warnings = _transform(args.language, args.query, registry, event)
    explanation = tried(transform, event)
    rows = list(explanation.rows)
    if args.output == "json":
        told = {"rows": rows, "explanation": list(explanation.lines), "warnings": list(map(str, warnings))}
        sys.stdout.buffer.write(json_bytes(told) + b"\n")
    else:
        for line in (*warnings, *explanation.lines):
            print(line, file=sys.stderr)
        for row in rows:
            sys.stdout.buffer.write(json_bytes(row) + b"\n")
    return 0 if rows else 1


def tried(transform: Transform[Any], event: Event) -> Explanation:
    """What the query makes of the event, FROM included."""
    seen, lines = came_from(transform.inputs(), event)
    if not seen:
        return Explanation([*lines, "no row: the rule does not see this event"])
    told = transform.explain(event)
    return Explanation([*lines, *told.lines], told.rows)


def _transform(language: str, query: str, registry: Registry, event: Event) -> tuple[Transform[Any], list[Problem]]:
    """The query checked as ``lint`` checks it, errors and warnings pointing into it."""
    try:
        cls: Any = registry.find("transform", language)
    except PluginError as exc:
        raise HeadraceError(registry.broken(language) or str(exc)) from None
    text = Text("query", query)
    begin = Mark(text, 1, 1)
    problems = Problems()
    node = Node(query, begin, begin, span=(0, len(query)))
    config = validate(cls.Config, {"query": node}, begin, "", problems, context={"functions": registry.functions})
    if config is None:
        raise InvalidConfig(problems.sorted())
    for found in cls.remarks(config, _offers(event)):
        problems.warn(Mark(text, found.line, found.column), found.message)
    return cls(config, Context("query", functions=registry.functions)), problems.sorted()


def _offers(event: Event) -> list[Offer] | None:
    """What EMQX could give, and this event; None for the messages of another broker, of which nothing is known."""
    name = event.get("event", MESSAGE)
    columns = {each.name: frozenset(each.columns) for each in samples()}
    if name not in columns:
        return None
    columns[name] |= frozenset(event.columns)
    return [Offer(columns.pop(MESSAGE), ("#", "$SYS/#"), columns)]

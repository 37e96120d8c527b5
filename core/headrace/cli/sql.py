"""``sql``: a query tried on one event."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from headrace.cli.explain import came_from
from headrace.cli.message import add_message, message
from headrace.cli.output import Commands, command
from headrace.components import Component, Context, Explanation, Transform
from headrace.config import InvalidConfig
from headrace.config.problems import Mark, Problems, Text
from headrace.config.tree import Node
from headrace.config.validate import validate
from headrace.errors import HeadraceError, PluginError
from headrace.events import Event, json_bytes
from headrace.registry import Registry

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    sql = command(commands, "sql", _sql, "try a query on one event: its rows, or why there is none")
    sql.add_argument("query", metavar="QUERY")
    add_message(sql)
    sql.add_argument("--language", default="sql", metavar="TYPE", help="another transform than sql")


def _sql(args: argparse.Namespace) -> int:
    registry = Registry.discover()
    explanation = tried(_transform(args.language, args.query, registry), message(args))
    rows = list(explanation.rows)
    if args.output == "json":
        sys.stdout.buffer.write(json_bytes({"rows": rows, "explanation": list(explanation.lines)}) + b"\n")
    else:
        for line in explanation.lines:
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


def _transform(language: str, query: str, registry: Registry) -> Transform[Any]:
    try:
        cls = registry.find("transform", language)
    except PluginError as exc:
        raise HeadraceError(registry.broken(language) or str(exc)) from None
    transform = cls(_checked(cls, query, registry), Context("query", functions=registry.functions))
    assert isinstance(transform, Transform)
    return transform


def _checked(cls: type[Component[Any]], query: str, registry: Registry) -> Any:
    """The query checked as ``lint`` checks it, errors pointing into it."""
    text = Text("query", query)
    begin = Mark(text, 1, 1)
    problems = Problems()
    node = Node(query, begin, begin, span=(0, len(query)))
    config = validate(cls.Config, {"query": node}, begin, "", problems, context={"functions": registry.functions})
    if config is None:
        raise InvalidConfig(problems.sorted())
    return config

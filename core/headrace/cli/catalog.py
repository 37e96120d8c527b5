"""``list``, ``show``, ``plugins``, ``sql``: what is installed, what it takes, what it does."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any

from headrace.cli.output import Commands, command, print_json, table
from headrace.cli.pipelines import add_config, checked
from headrace.components import Component, Context, Transform
from headrace.config import InvalidConfig, effective, to_yaml
from headrace.config.problems import Mark, Problems, Text
from headrace.config.tree import Node
from headrace.config.validate import validate
from headrace.errors import HeadraceError, PluginError
from headrace.events import Event, json_bytes, new_id, now_ms
from headrace.reference import Option, example, options, summary
from headrace.registry import KINDS, Kind, Registry

__all__ = ["add_commands"]

LISTS = ("sources", "transforms", "sinks", "connectors", "functions")


def add_commands(commands: Commands) -> None:
    listing = command(commands, "list", _list, "list the types of components, or the functions a query may call")
    listing.add_argument("what", choices=LISTS)
    show = command(commands, "show", _show, "show a type's options, or a configuration as it is understood")
    show.add_argument("type", metavar="TYPE", help="a type such as http, or the word config")
    add_config(show)
    show.add_argument("--defaults", action="store_true", help="with config: show what is not given, too")
    command(commands, "plugins", _plugins, "list the plugins, what they bring, and what is wrong with them")
    sql = command(commands, "sql", _sql, "try a query on one message: its rows, or why there is none")
    sql.add_argument("query", metavar="QUERY")
    sql.add_argument("--topic", default="t/1", help="topic of the message (t/1)")
    sql.add_argument("--payload", default="", help="its payload; @FILE reads a file, @- standard input")
    sql.add_argument("--clientid", default="client", help="client id of who sent it (client)")
    sql.add_argument("--qos", type=int, choices=(0, 1, 2), default=0)
    sql.add_argument("--language", default="sql", metavar="TYPE", help="another transform than sql")


def _list(args: argparse.Namespace) -> int:
    registry = Registry.discover()
    rows = _functions(registry) if args.what == "functions" else _types(registry, args.what[:-1])
    if args.output == "json":
        print_json(rows)
    elif rows:
        print(table([[row["name"], row["plugin"], row["text"]] for row in rows], ("NAME", "PLUGIN", "")))
    return 0


def _types(registry: Registry, kind: Kind) -> list[dict[str, str]]:
    return [
        {"name": name, "plugin": registry.owner(kind, name), "text": summary(registry.find(kind, name))}
        for name in registry.names(kind)
    ]


def _functions(registry: Registry) -> list[dict[str, str]]:
    """What queries may call: the functions of each language, and those that plugins add for all of them."""
    rows = [
        {
            "name": name,
            "plugin": registry.owner("function", name),
            "text": (inspect.getdoc(call) or "").partition("\n")[0],
        }
        for name, call in registry.functions.items()
    ]
    for language in registry.names("transform"):
        cls = registry.find("transform", language)
        assert issubclass(cls, Transform)
        owner = registry.owner("transform", language)
        rows += [{"name": name, "plugin": owner, "text": text} for name, text in cls.functions().items()]
    return sorted(rows, key=lambda row: row["name"])


# -- show --------------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> int:
    if args.type == "config":
        return _show_config(args)
    registry = Registry.discover()
    found = [(kind, registry.find(kind, args.type)) for kind in KINDS if args.type in registry.names(kind)]
    if not found:
        return _unknown(registry, args.type)
    if args.output == "json":
        print_json([_described(kind, cls) for kind, cls in found])
    else:
        print("\n".join(_page(kind, cls) for kind, cls in found), end="")
    return 0


def _unknown(registry: Registry, name: str) -> int:
    from headrace.config.problems import suggest

    why = registry.broken(name)
    known = sorted({name for kind in KINDS for name in registry.names(kind)})
    text = why or f"there is no type {name!r}{suggest(name, known)}; there are {', '.join(known)}"
    print(f"headrace: {text}", file=sys.stderr)
    return 1 if why else 2


def _described(kind: Kind, cls: type[Component[Any]]) -> dict[str, Any]:
    return {
        "kind": kind,
        "type": cls.name,
        "text": inspect.getdoc(cls) or "",
        "options": [option._asdict() for option in options(cls.Config)],
        "example": example(cls),
        "schema": cls.Config.model_json_schema(by_alias=True),
    }


def _page(kind: Kind, cls: type[Component[Any]]) -> str:
    parts = [f"{cls.name} ({kind})\n\n{inspect.getdoc(cls) or ''}\n"]
    rows = options(cls.Config)
    if rows:
        parts.append(table([_row(option) for option in rows], ("OPTION", "TYPE", "DEFAULT", "")) + "\n")
    connector = getattr(cls, "connector_type", None)
    if connector is not None:
        parts.append(f"Its connection: connector: NAME, or the options of the connector {connector.name} right here.\n")
    if kind == "sink":
        parts.append("Every sink also takes order, key, ttl, retry, on_error, rate, batch, inflight and buffer.\n")
    parts.append("Example:\n" + "".join(f"  {line}\n" for line in example(cls).splitlines()))
    return "\n".join(parts)


def _row(option: Option) -> list[str]:
    default = "(required)" if option.default is None else option.default
    return [option.name, option.type, default, option.description]


def _show_config(args: argparse.Namespace) -> int:
    result = checked(args)
    if result.spec is None:
        raise InvalidConfig(result.problems)
    shown = effective(result.spec, defaults=args.defaults)
    if args.output == "json":
        print_json(shown)
    else:
        print(to_yaml(shown), end="")
    return 0


# -- plugins -----------------------------------------------------------------------------------------------------


def _plugins(args: argparse.Namespace) -> int:
    rows = Registry.discover().rows
    if args.output == "json":
        print_json([vars(row) for row in rows])
        return 0
    lines = [
        [
            row.name,
            f"{row.distribution} {row.version}",
            f"FAILED: {row.error}" if row.error else ", ".join(row.provides),
        ]
        for row in rows
    ]
    print(table(lines, ("PLUGIN", "FROM", "BRINGS")))
    return 0


# -- sql ---------------------------------------------------------------------------------------------------------


def _sql(args: argparse.Namespace) -> int:
    registry = Registry.discover()
    try:
        cls = registry.find("transform", args.language)
    except PluginError as exc:
        print(f"headrace: {registry.broken(args.language) or exc}", file=sys.stderr)
        return 1
    config = _query(cls, args.query, registry)
    transform = cls(config, Context("query", functions=registry.functions))
    assert isinstance(transform, Transform)
    explanation = transform.explain(_message(args))
    rows = list(explanation.rows)
    if args.output == "json":
        sys.stdout.buffer.write(json_bytes({"rows": rows, "explanation": list(explanation.lines)}) + b"\n")
    else:
        for line in explanation.lines:
            print(line, file=sys.stderr)
        for row in rows:
            sys.stdout.buffer.write(json_bytes(row) + b"\n")
    return 0 if rows else 1


def _query(cls: type[Component[Any]], query: str, registry: Registry) -> Any:
    """The query checked as ``lint`` checks it, errors pointing into it."""
    text = Text("query", query)
    begin = Mark(text, 1, 1)
    problems = Problems()
    node = Node(query, begin, begin, span=(0, len(query)))
    config = validate(cls.Config, {"query": node}, begin, "", problems, context={"functions": registry.functions})
    if config is None:
        raise InvalidConfig(problems.sorted())
    return config


def _message(args: argparse.Namespace) -> Event:
    id, now = new_id(), now_ms()
    columns = {
        "event": "message.publish",
        "id": id,
        "clientid": args.clientid,
        "payload": _payload(args.payload),
        "topic": args.topic,
        "qos": args.qos,
        "flags": {"retain": False, "dup": False},
        "pub_props": {},
        "publish_received_at": now,
        "timestamp": now,
    }
    return Event(columns, id=id, key=args.clientid, timestamp=now)


def _payload(given: str) -> str | bytes:
    if not given.startswith("@"):
        return given
    try:
        data = sys.stdin.buffer.read() if given == "@-" else Path(given[1:]).read_bytes()
    except OSError as exc:
        raise HeadraceError(f"cannot read {given[1:]}: {exc.strerror}") from exc
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data

"""``list``, ``show``, ``plugins``: what is installed, and what it takes."""

from __future__ import annotations

import argparse
import inspect
import sys
from typing import Any

from headrace.cli.output import Commands, command, print_json, table
from headrace.cli.pipelines import add_config, checked
from headrace.components import Component
from headrace.config import InvalidConfig, effective, to_yaml
from headrace.reference import Option, example, options, summary
from headrace.registry import KINDS, Kind, Registry
from headrace.samples import samples

__all__ = ["add_commands"]

LISTS = ("sources", "transforms", "sinks", "connectors", "functions", "events")


def add_commands(commands: Commands) -> None:
    listing = command(
        commands, "list", _list, "list the types of components, the functions a query may call, or events"
    )
    listing.add_argument("what", nargs="?", choices=LISTS, help="default is the types of all four kinds of components")
    show = command(commands, "show", _show, "show a type's options, or a configuration as it is understood")
    show.add_argument("type", metavar="TYPE", help="a type such as http, or the word config")
    add_config(show)
    show.add_argument("--defaults", action="store_true", help="with config: show what is not given, too")
    command(commands, "plugins", _plugins, "list the plugins, what they bring, and what is wrong with them")


def _list(args: argparse.Namespace) -> int:
    if args.what is None:
        return _all_types(args.output)
    if args.what == "events":
        return _events(args.output)
    registry = Registry.discover()
    rows = registry.callable() if args.what == "functions" else _types(registry, args.what[:-1])
    if args.output == "json":
        print_json(rows)
    elif rows:
        print(table([[row["name"], row["plugin"], row["text"]] for row in rows], ("NAME", "PLUGIN", "")))
    return 0


def _all_types(output: str) -> int:
    registry = Registry.discover()
    found = {f"{kind}s": _types(registry, kind) for kind in KINDS}
    if output == "json":
        print_json(found)
    else:
        rows = [[kind[:-1], row["name"], row["plugin"], row["text"]] for kind, part in found.items() for row in part]
        print(table(rows, ("", "NAME", "PLUGIN", "")))
    return 0


def _types(registry: Registry, kind: Kind) -> list[dict[str, str]]:
    return [
        {"name": name, "plugin": registry.owner(kind, name), "text": summary(registry.find(kind, name))}
        for name in registry.names(kind)
    ]


def _events(output: str) -> int:
    """The events a rule may read, with columns as they could have them."""
    found = list(samples())
    if output == "json":
        print_json([each._asdict() for each in found])
    else:
        rows = [[each.name, ", ".join(each.topics) or "a topic filter, such as t/#", each.text] for each in found]
        print(table(rows, ("EVENT", "IN FROM", "WHEN")))
    return 0


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

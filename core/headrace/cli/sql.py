"""``sql``: a query tried on one event, or many of them at a prompt."""

from __future__ import annotations

import argparse
import sys

from headrace.cli.message import add_message, message
from headrace.cli.output import Commands, command, print_json
from headrace.events import json_bytes
from headrace.query import Language, Tried
from headrace.registry import Registry

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    sql = command(commands, "sql", _sql, "try a query on one event: its rows, or why there is none")
    sql.add_argument("query", metavar="QUERY", nargs="?", help="default: standard input, or a prompt on a terminal")
    add_message(sql)
    sql.add_argument(
        "--show-code", action="store_true", help="print the Python code the query becomes, and try nothing"
    )
    sql.add_argument("--language", default="sql", metavar="TYPE", help="another transform than sql")


def _sql(args: argparse.Namespace) -> int:
    language = Language(Registry.discover(), args.language)
    query = args.query
    if query is None:
        if sys.stdin.isatty():
            from headrace.cli.prompt import Prompt

            return Prompt(language, args).run()
        if args.payload == "@-":
            print("headrace: standard input cannot be the query and the payload", file=sys.stderr)
            return 2
        query = sys.stdin.read()
    if args.show_code:
        return _show_code(language, query, args)
    tried = language.try_(query, message(args))
    if args.output == "json":
        sys.stdout.buffer.write(json_bytes(_plain(tried)) + b"\n")
    else:
        for line in (*tried.warnings, *tried.explanation.lines):
            print(line, file=sys.stderr)
        for row in tried.explanation.rows:
            sys.stdout.buffer.write(json_bytes(row) + b"\n")
    return 0 if tried.explanation.rows else 1


def _show_code(language: Language, query: str, args: argparse.Namespace) -> int:
    transform, _ = language.prepare(query, message(args))
    if args.output == "json":
        print_json({"code": transform.code})
    else:
        print(transform.code or f"{language.name} does not say what it runs", end="")
    return 0


def _plain(tried: Tried) -> dict[str, object]:
    return {
        "rows": list(tried.explanation.rows),
        "explanation": list(tried.explanation.lines),
        "warnings": list(map(str, tried.warnings)),
    }

"""``new``, ``import``, ``schema``, ``passwd``: the commands that write what a pipeline needs."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import tempfile
from pathlib import Path

from headrace import passwords
from headrace.cli.output import Commands, command, print_json
from headrace.errors import PluginError

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    new = command(commands, "new", _new, "write a pipeline to start from on standard output", output=False)
    new.add_argument("what", choices=["pipeline"])
    new.add_argument("--from", default="mqtt", dest="source", metavar="SOURCE", help="type of the source (mqtt)")
    new.add_argument("--to", default="http", dest="sink", metavar="SINK", help="type of the sink (http)")
    take = command(
        commands, "import", _import, "write a pipeline from rules and HTTP actions of EMQX, as JSON", output=False
    )
    take.add_argument("system", choices=["emqx"])
    take.add_argument("files", nargs="+", metavar="FILE", type=Path, help="answers of its API: rules, actions, …")
    command(commands, "schema", _schema, "print the JSON Schema of a configuration, for editors", output=False)
    passwd = command(commands, "passwd", _passwd, "set a user's password in a users file", output=False)
    passwd.add_argument("file", metavar="FILE", type=Path)
    passwd.add_argument("user", metavar="USER")
    passwd.add_argument("--delete", action="store_true", help="take the user out of the file")


_PIPELINE = """\
# Run it: headrace run FILE    Check it: headrace lint FILE    More options: headrace show TYPE
sources:
  my_source:
{source}
rules:
  my_rule:
    sql: SELECT * FROM "#"
    to: my_sink
sinks:
  my_sink:
{sink}
"""


def _new(args: argparse.Namespace) -> int:
    from headrace.reference import example
    from headrace.registry import Registry

    registry = Registry.discover()
    try:
        parts = [registry.find("source", args.source), registry.find("sink", args.sink)]
    except PluginError as exc:
        print(f"headrace: {exc}", file=sys.stderr)
        return 2
    source, sink = ("\n".join(f"    {line}" for line in example(cls).splitlines()) for cls in parts)
    print(_PIPELINE.format(source=source, sink=sink), end="")
    return 0


def _import(args: argparse.Namespace) -> int:
    from headrace.cli.emqx import imported
    from headrace.config import to_yaml

    documents = []
    for path in args.files:
        try:
            documents.append(json.loads(path.read_bytes()))
        except (OSError, ValueError) as exc:
            print(f"headrace: cannot read {path}: {exc}", file=sys.stderr)
            return 1
    result = imported(documents)
    for remark in result.remarks:
        print(f"# {remark}")
    print(to_yaml({name: parts for name, parts in result.sections.items() if parts}), end="")
    if not result.sections["rules"]:
        print("headrace: there is no rule in it; rules are in the answer of /api/v5/rules", file=sys.stderr)
    return 0


def _schema(_args: argparse.Namespace) -> int:
    from headrace.reference import schema
    from headrace.registry import Registry

    print_json(schema(Registry.discover()))
    return 0


def _passwd(args: argparse.Namespace) -> int:
    if not args.user or args.user.startswith("#") or "\n" in args.user or "\r" in args.user:
        print("headrace: a user's name is one line and does not begin with '#'", file=sys.stderr)
        return 2
    try:
        lines = args.file.read_text().splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as exc:
        print(f"headrace: cannot read {args.file}: {exc}", file=sys.stderr)
        return 1
    others = [line for line in lines if line.startswith("#") or line.rpartition(":")[0] != args.user]
    if args.delete:
        if len(others) == len(lines):
            print(f"headrace: {args.file} has no user {args.user!r}", file=sys.stderr)
            return 1
        added = []
    else:
        password = _ask()
        if not password:
            print("headrace: no password given, nothing changed", file=sys.stderr)
            return 1
        added = [f"{args.user}:{passwords.hash_password(password)}"]
    _replace(args.file, "".join(f"{line}\n" for line in [*others, *added]))
    return 0


def _ask() -> str:
    """The password: asked for twice at a terminal, the first line of standard input otherwise."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass()
    if password != getpass.getpass("Again: "):
        print("headrace: the two are not the same", file=sys.stderr)
        return ""
    return password


def _replace(path: Path, text: str) -> None:
    """A server may read the file at any moment: it finds the old or the new one, whole, and nobody else may read it."""
    path = path.resolve()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise

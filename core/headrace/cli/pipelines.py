"""``run``, ``lint``, ``demo``: the commands that take a whole configuration."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from headrace.cli.output import Commands, command, print_json
from headrace.config import Checked, InvalidConfig, check

__all__ = ["add_commands", "add_config", "checked"]

HINT = """give a configuration: a file, a directory or a pattern.
  headrace run pipeline.yaml
To make one: headrace new pipeline > pipeline.yaml. To see it work: headrace demo."""


def add_commands(commands: Commands) -> None:
    run = command(commands, "run", _run, "run a pipeline until it is told to stop", output=False)
    add_config(run)
    run.add_argument("--watch", action="store_true", help="go on with the new configuration when a file of it changes")
    run.add_argument("--read-only", action="store_true", help="the API and the dashboard do not change the files")
    run.add_argument("--log", choices=("text", "json"), default="text", help="form of the log lines on standard error")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    lint = command(commands, "lint", _lint, "check a configuration; nothing is connected to")
    add_config(lint)
    command(commands, "demo", _demo, "simulated devices, a rule and a receiver, all on this machine", output=False)


def add_config(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a configuration."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="file, directory or pattern; several are merged")
    parser.add_argument("-c", "--config", action="append", default=[], metavar="PATH", help="the same as PATH")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE",
        help="set one option whatever the files say, such as sinks.api.url=http://localhost:5000",
    )  # fmt: skip


def checked(args: argparse.Namespace) -> Checked:
    """The configuration the arguments name. Ends the program where they name none."""
    paths = [*args.config, *args.paths]
    if not paths:
        print(f"headrace: {HINT}", file=sys.stderr)
        raise SystemExit(2)
    return check(paths, args.overrides)


def _run(args: argparse.Namespace) -> int:
    result = checked(args)
    if result.spec is None:
        raise InvalidConfig(result.problems)
    for problem in result.problems:
        print(problem, file=sys.stderr)
    from headrace import service  # faust is slow to import, and only this command needs it
    from headrace.cli import logs
    from headrace.live import Origin

    log = logs.set_up(args.log, args.log_level)
    origin = Origin([*args.config, *args.paths], args.overrides, args.read_only)
    return service.run(result.spec, result.registry, log, origin=origin, watch=args.watch)


def _lint(args: argparse.Namespace) -> int:
    result = checked(args)
    errors = sum(problem.severity == "error" for problem in result.problems)
    warnings = len(result.problems) - errors
    if args.output == "json":
        print_json({"ok": not errors, "problems": [dataclasses.asdict(problem) for problem in result.problems]})
    else:
        for problem in result.problems:
            print(problem)
        print(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}", file=sys.stderr)
    return 78 if errors else 0


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _demo(_args: argparse.Namespace) -> int:
    from headrace.cli import demo

    return demo.main()

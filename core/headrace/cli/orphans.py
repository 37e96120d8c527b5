"""``orphans``: what sinks that are no more configured have left in the stream of a running pipeline."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from headrace.cli import state
from headrace.cli.output import Commands, command, print_json, table
from headrace.units import rough_size

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    orphans = command(
        commands, "orphans", _orphans, "what sinks that are gone have left in a running pipeline: list or delete it"
    )
    orphans.add_argument("action", choices=("ls", "purge"))
    state.add_pipeline(orphans)
    orphans.add_argument("--sink", help="purge what this sink has left")
    orphans.add_argument("--all", action="store_true", help="purge what any sink has left")


def _orphans(args: argparse.Namespace) -> int:
    if args.action == "purge" and not (args.sink or args.all):
        print("headrace: say which: --sink NAME, or --all", file=sys.stderr)
        return 2
    name, directory = state.find(args)
    found: dict[str, Any] = state.call(name, directory, "status")["stream"]["orphans"]
    if args.sink:
        found = {topic: part for topic, part in found.items() if topic == f"sink.{args.sink}"}
    if args.action == "purge":
        return _purge(args, name, directory, found)
    if args.output == "json":
        print_json(found)
    elif found:
        rows = [
            [topic.removeprefix("sink."), str(part["events"]), rough_size(part["bytes"])]
            for topic, part in found.items()
        ]
        print(table(rows, ("SINK", "EVENTS", "SIZE")))
    return 0


def _purge(args: argparse.Namespace, name: str, directory: Any, found: dict[str, Any]) -> int:
    if args.sink and not found:
        print(f"headrace: sink {args.sink} is no orphan; headrace orphans ls shows them", file=sys.stderr)
        return 1
    for topic in found:
        state.call(name, directory, "orphans.purge", topic=topic)
    events = sum(part["events"] for part in found.values())
    if args.output == "json":
        print_json({"purged": events})
    else:
        print(f"purge: {events} events")
    return 0

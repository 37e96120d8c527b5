"""``test``: is a connector's peer there, and what does it say to an event? The pipeline does not run."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from headrace.cli.message import add_message, columns_of
from headrace.cli.output import Commands, command, print_json, printable
from headrace.cli.pipelines import add_config, checked
from headrace.components import TestStep
from headrace.config import InvalidConfig
from headrace.errors import HeadraceError
from headrace.events import json_bytes

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    test = command(commands, "test", _test, "try the way to a connector's peer; with --send, one event too")
    test.add_argument("what", choices=["connector"])
    test.add_argument("name", metavar="NAME", help="of the connector, or of the sink that has its own")
    add_config(test)
    test.add_argument("--send", action="store_true", help="send one sample event, and show what comes back")
    test.add_argument("--sink", metavar="NAME", help="the sink that sends it, if several use the connector")
    add_message(test)


def _test(args: argparse.Namespace) -> int:
    found = asyncio.run(_try(args))
    if args.output == "json":
        print_json({**found, "steps": [dataclasses.asdict(step) for step in found["steps"]]})
    else:
        print(_page(found))
    return 0 if found["ok"] else 1


async def _try(args: argparse.Namespace) -> dict[str, Any]:
    from headrace.engine.trial import Trial

    result = checked(args)
    if result.spec is None:
        raise InvalidConfig(result.problems)
    async with Trial(result.spec, result.registry) as trial:
        steps = await trial.test_connector(args.name)
        found: dict[str, Any] = {"connector": args.name, "ok": all(step.ok for step in steps), "steps": steps}
        if args.send and found["ok"]:
            event = trial.sample(_sink(args, trial.sinks_of(args.name)), _columns(args))
            found |= {"sink": event.sink, "request": await trial.render(event), "answer": await trial.send(event)}
            found["ok"] = found["answer"]["ok"]
        return found


def _sink(args: argparse.Namespace, sinks: list[str]) -> str:
    """The sink that is to send: the one that is named, or the only one."""
    name: str = args.sink or (sinks[0] if len(sinks) == 1 else "")
    if name not in sinks:
        known = ", ".join(sinks) or "none"
        raise HeadraceError(f"say which sink is to send, by --sink; connector {args.name!r} is used by {known}")
    return name


def _columns(args: argparse.Namespace) -> Mapping[str, Any]:
    """What the arguments say of the event, and nothing else."""
    columns = columns_of(args)
    if args.event is not None:
        return columns
    return {name: columns[name] for name in ("topic", "payload", "clientid", "qos") if getattr(args, name) is not None}


def _page(found: Mapping[str, Any]) -> str:
    lines = [_step(step) for step in found["steps"]]
    if "request" in found:
        lines.append(f"sink {found['sink']} sends")
        lines += [f"    {key}: {_text(value)}" for key, value in found["request"].items()]
        lines.append("delivered" if found["answer"]["ok"] else "not delivered")
        lines += [f"    {key}: {_text(value)}" for key, value in found["answer"].items() if key != "ok" and value]
    return "\n".join(lines)


def _step(step: TestStep) -> str:
    return f"{'ok  ' if step.ok else 'FAIL'}  {step.name:<6}  {step.seconds * 1000:6.1f} ms  {step.detail}"


def _text(value: object) -> str:
    return printable(value if isinstance(value, str) else json_bytes(value).decode())

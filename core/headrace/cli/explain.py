"""``explain``: what a configuration does with one event, rule by rule. Nothing is connected to, nothing is sent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from headrace.cli.message import add_message, message
from headrace.cli.output import Commands, command
from headrace.cli.pipelines import add_config, checked
from headrace.config import InvalidConfig
from headrace.errors import HeadraceError
from headrace.events import json_bytes
from headrace.explain import Explainer, Told

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    explain = command(commands, "explain", _explain, "say what each rule does with one event, and why; nothing is sent")
    add_config(explain)
    add_message(explain)
    explain.add_argument("--rule", metavar="NAME", help="only this rule")
    explain.add_argument("--source", metavar="NAME", help="the source it comes from (any that the rule reads)")


def _explain(args: argparse.Namespace) -> int:
    result = checked(args)
    if result.spec is None:
        raise InvalidConfig(result.problems)
    spec = result.spec
    for kind, name, known in (("rule", args.rule, spec.rules), ("source", args.source, spec.sources)):
        if name is not None and name not in known:
            raise HeadraceError(f"there is no {kind} {name!r}; there are {', '.join(known) or 'none'}")
    event = message(args, args.source or "")
    explainer = Explainer(spec, result.registry)
    found = [explainer.rule(rule, event) for rule in spec.rules.values() if args.rule in (None, rule.name)]
    if args.output == "json":
        document = {"event": event.columns, "rules": [told.document() for told in found]}
        sys.stdout.buffer.write(json_bytes(document) + b"\n")
    else:
        print("\n\n".join("\n".join(_page(told)) for told in found) or "there are no rules")
    return 0 if any(told.rows for told in found) else 1


def _page(told: Told) -> Iterator[str]:
    count = f"{len(told.rows)} row{'' if len(told.rows) == 1 else 's'}" if told.rows else "no row"
    yield f"rule {told.rule}: {count}"
    yield from (f"  {line}" for line in told.lines)
    for row, sends in zip(told.rows, told.sends, strict=True):
        yield f"  row: {json_bytes(row).decode()}"
        for sent in sends:
            yield f"    to {sent.sink} ({sent.type}){f': cannot be sent: {sent.error}' if sent.error else ''}"
            yield from (f"      {line}" for line in _request(sent.request))


def _request(request: Mapping[str, Any]) -> Iterator[str]:
    """A request as it goes over the wire, if it is one; other things by name."""
    rest = dict(request)
    if "method" in rest and "url" in rest:
        yield f"{rest.pop('method')} {rest.pop('url')}"
    headers = rest.pop("headers", None)
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        yield f"{name}: {value}"
    for name, value in rest.items():
        text = value if isinstance(value, str) else json_bytes(value).decode()
        if value is not None and text:
            yield f"{name}: {text}"

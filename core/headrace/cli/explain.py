"""``explain``: what a configuration does with one event, rule by rule. Nothing is connected to, nothing is sent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from headrace.cli.message import add_message, message
from headrace.cli.output import Commands, command
from headrace.cli.pipelines import add_config, checked
from headrace.components import Connector, Context, Inputs, Sink
from headrace.config import InvalidConfig
from headrace.config.model import PipelineSpec, RuleSpec, SinkSpec
from headrace.errors import HeadraceError
from headrace.events import Event, json_bytes
from headrace.registry import Registry
from headrace.topics import MESSAGE

__all__ = ["add_commands", "came_from"]


def add_commands(commands: Commands) -> None:
    explain = command(commands, "explain", _explain, "say what each rule does with one event, and why; nothing is sent")
    add_config(explain)
    add_message(explain)
    explain.add_argument("--rule", metavar="NAME", help="only this rule")
    explain.add_argument("--source", metavar="NAME", help="the source it comes from (any that the rule reads)")


class Sent(NamedTuple):
    """One result on its way to one sink: what would be sent, or why nothing can be."""

    sink: str
    type: str
    request: Mapping[str, Any]
    error: str = ""


class Told(NamedTuple):
    """What became of the event in one rule."""

    rule: str
    seen: bool
    lines: list[str]
    rows: list[Mapping[str, Any]]
    sends: list[list[Sent]]
    """For each row, where it goes."""


def _explain(args: argparse.Namespace) -> int:
    result = checked(args)
    if result.spec is None:
        raise InvalidConfig(result.problems)
    spec = result.spec
    for kind, name, known in (("rule", args.rule, spec.rules), ("source", args.source, spec.sources)):
        if name is not None and name not in known:
            raise HeadraceError(f"there is no {kind} {name!r}; there are {', '.join(known) or 'none'}")
    event = message(args, args.source or "")
    explainer = _Explainer(spec, result.registry)
    found = [explainer.rule(rule, event) for rule in spec.rules.values() if args.rule in (None, rule.name)]
    if args.output == "json":
        document = {"event": event.columns, "rules": [_plain(told) for told in found]}
        sys.stdout.buffer.write(json_bytes(document) + b"\n")
    else:
        print("\n\n".join("\n".join(_page(told)) for told in found) or "there are no rules")
    return 0 if any(told.rows for told in found) else 1


def came_from(inputs: Inputs, event: Event) -> tuple[bool, list[str]]:
    """Is the event one of those wanted? And a line for each topic filter and event of FROM."""
    name = event.get("event", MESSAGE)
    what = f"topic {event.get('topic', '')}" if name == MESSAGE else f"event {name}"
    found = inputs.matching(event)
    lines = [
        f'FROM "{each}": {"matches" if each in found else "does not match"} {what}'
        for each in (*inputs.topics, *inputs.events)
    ]
    return bool(found), lines


class _Explainer:
    def __init__(self, spec: PipelineSpec, registry: Registry) -> None:
        self._spec = spec
        self._registry = registry
        self._sinks: dict[str, Sink[Any] | str] = {}

    def rule(self, rule: RuleSpec, event: Event) -> Told:
        """What the rule makes of the event. Never raises: what a plugin raises is told."""
        broken = [step.broken for step in rule.transforms if step.broken]
        if broken:
            return Told(rule.name, False, [f"the rule is stopped: {broken[0]}"], [], [])
        if rule.sources is not None and event.source and event.source not in rule.sources:
            line = f"the rule reads from {', '.join(rule.sources)} only, not from {event.source}"
            return Told(rule.name, False, [line], [], [])
        seen, lines, outputs = self._transformed(rule, event)
        sends = [[self._sent(name, output) for name in rule.sinks] for output in outputs]
        return Told(rule.name, seen, lines, [output.columns for output in outputs], sends)

    def _transformed(self, rule: RuleSpec, event: Event) -> tuple[bool, list[str], list[Event]]:
        lines: list[str] = []
        outputs = [event]
        for n, step in enumerate(rule.transforms):
            assert step.cls is not None
            try:
                transform = step.cls(step.config, self._context(rule.name))
                if n == 0:
                    seen, lines = came_from(transform.inputs(), event)
                    if not seen:
                        return False, [*lines, "no row: the rule does not see this event"], []
                following: list[Event] = []
                for each in outputs:
                    told = transform.explain(each)
                    before = f"step {n + 1}, {step.cls.name}: " if len(rule.transforms) > 1 else ""
                    lines += [before + line for line in told.lines]
                    following += [each.output(dict(row), rule.name, i) for i, row in enumerate(told.rows)]
            except Exception as exc:  # noqa: BLE001 - a plugin may raise anything; it is what there is to tell
                return True, [*lines, f"no row: {type(exc).__name__}: {exc}"], []
            outputs = following
        return True, lines, outputs

    def _context(self, name: str, connector: Connector[Any] | None = None) -> Context:
        return Context(name, pipeline=self._spec.name, connector=connector, functions=self._registry.functions)

    def _sent(self, name: str, output: Event) -> Sent:
        spec = self._spec.sinks[name]
        kind = spec.cls.name if spec.cls is not None else "?"
        output.sink, output.attempt = name, 1
        try:
            sink = self._sinks[name] = self._sinks.get(name) or self._sink(spec)
            return Sent(name, kind, {}, sink) if isinstance(sink, str) else Sent(name, kind, sink.render(output))
        except Exception as exc:  # noqa: BLE001 - what cannot be made of this event is told, whatever it is
            return Sent(name, kind, {}, str(exc) or type(exc).__name__)

    def _sink(self, spec: SinkSpec) -> Sink[Any] | str:
        """The sink, not opened; or why there is none."""
        if spec.broken or spec.cls is None or spec.config is None:
            return spec.broken or "its plugin is broken"
        connector = None
        if spec.connector is not None:
            found = self._spec.connectors.get(spec.connector) or self._spec.inline_connectors[spec.name]
            assert found.cls is not None  # or the sink would be broken
            connector = found.cls(found.config, self._context(found.name))
        return spec.cls(spec.config, self._context(spec.name, connector))


def _plain(told: Told) -> dict[str, Any]:
    return {
        **told._asdict(),
        "sends": [[sent._asdict() for sent in each] for each in told.sends],
    }


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

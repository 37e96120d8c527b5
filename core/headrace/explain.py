"""What the rules of a configuration do with one event, and why. Nothing is connected to, nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from headrace.components import Connector, Context, Inputs, Sink
from headrace.config.model import PipelineSpec, RuleSpec, SinkSpec
from headrace.events import Event
from headrace.registry import Registry
from headrace.topics import MESSAGE

__all__ = ["Explainer", "Sent", "Told", "came_from"]


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

    def document(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {**self._asdict(), "sends": [[sent._asdict() for sent in each] for each in self.sends]}


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


class Explainer:
    """Says what the rules of a configuration and their sinks would do. Sinks are made, not opened."""

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
        sends = [[self.sent(name, output) for name in rule.sinks] for output in outputs]
        return Told(rule.name, seen, lines, [output.columns for output in outputs], sends)

    def sent(self, name: str, output: Event) -> Sent:
        """What a sink would send of an event that is on its way to it. Never raises."""
        spec = self._spec.sinks.get(name)
        if spec is None:
            return Sent(name, "?", {}, f"there is no sink {name!r}")
        kind = spec.cls.name if spec.cls is not None else "?"
        output.sink, output.attempt = name, 1
        try:
            sink = self._sinks[name] = self._sinks.get(name) or self._sink(spec)
            return Sent(name, kind, {}, sink) if isinstance(sink, str) else Sent(name, kind, sink.render(output))
        except Exception as exc:  # noqa: BLE001 - what cannot be made of this event is told, whatever it is
            return Sent(name, kind, {}, str(exc) or type(exc).__name__)

    def reads(self, rule: RuleSpec) -> tuple[str, ...]:
        """The topic filters and events of its FROM; none if the rule is stopped."""
        step = rule.transforms[0]
        if step.broken or step.cls is None:
            return ()
        try:
            inputs = step.cls(step.config, self._context(rule.name)).inputs()
        except Exception:  # noqa: BLE001 - a plugin may raise anything; then nothing is read
            return ()
        return (*inputs.topics, *inputs.events)

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

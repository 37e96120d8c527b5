"""Sinks and connectors of a configuration, made and opened to be looked at or tried; the pipeline does not run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from headrace.components import Component, ComponentConfig, Connector, Context, Sink, TestStep
from headrace.config.model import ConnectorSpec, PipelineSpec, RuleSpec
from headrace.engine.opening import close
from headrace.engine.retry import describe
from headrace.errors import HeadraceError
from headrace.events import Event
from headrace.registry import Registry
from headrace.samples import event_named, make_event, sample
from headrace.topics import MESSAGE

__all__ = ["Trial"]


class Trial:
    """Use as an async context manager: what was opened is closed at its end."""

    def __init__(self, spec: PipelineSpec, registry: Registry, log: logging.Logger | None = None) -> None:
        self._spec = spec
        self._registry = registry
        self._log = log or logging.getLogger("headrace.trial")
        self._made: dict[tuple[str, str], Component[Any]] = {}
        self._up: set[Component[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for component in reversed(self._made.values()):
            await close(component)

    # -- what can be asked -------------------------------------------------------------------------------------

    async def test_connector(self, name: str) -> list[TestStep]:
        """Try a connector's way to its peer, stage by stage. ``name``: of a connector, or of a sink with its own."""
        connector = self._connector(self._connector_spec(name))
        try:
            await self._open(connector)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the result
            return [TestStep("open", ok=False, detail=describe(exc))]
        return await connector.test()

    async def render(self, event: Event) -> Mapping[str, Any]:
        """What its sink (``event.sink``) would send for an event; empty if the sink cannot say.

        HeadraceError if there is no such sink, or nothing can be made of the event.
        """
        sink = await self._sink(event.sink)
        try:
            return sink.render(event)
        except Exception as exc:
            raise HeadraceError(f"nothing can be made of event {event.id}: {describe(exc)}") from exc

    async def send(self, event: Event) -> Mapping[str, Any]:
        """Send one event to its sink, once, and say what came back."""
        return await (await self._sink(event.sink)).trial(event)

    def sample(self, sink: str, columns: Mapping[str, Any] | None = None) -> Event:
        """An event as ``sink`` gets it: one the first rule to the sink reads, and what that rule makes of it.

        ``columns`` are its columns, or, without ``event`` among them, some that replace those of the sample.
        HeadraceError if the rule gives nothing for it.
        """
        rule = next((rule for rule in self._spec.rules.values() if sink in rule.sinks), None)
        whole = columns if columns and "event" in columns else {**self._sample(rule), **(columns or {})}
        event = make_event(whole, "sample")
        if rule is None:
            made = event.output(event.columns, "")
        elif rows := self._rows(rule, event):
            made = rows[0]
        else:
            raise HeadraceError(
                f"rule {rule.name} gives nothing for the sample on topic {whole.get('topic')!r} with payload "
                f"{whole.get('payload')!r}; give others"
            )
        made.sink = sink
        return made

    def sinks_of(self, connector: str) -> list[str]:
        """The sinks that use a connector."""
        return [name for name, sink in self._spec.sinks.items() if connector == (sink.connector or name)]

    # -- how ---------------------------------------------------------------------------------------------------

    def _sample(self, rule: RuleSpec | None) -> Mapping[str, Any]:
        """Columns of an event that the rule reads."""
        if rule is None or not rule.transforms:
            return sample(MESSAGE).columns
        step = rule.transforms[0]
        inputs = self._make(step.cls, step.config, "rules", rule.name).inputs()
        if inputs.topics:
            topic = inputs.topics[0].replace("+", "1").replace("#", "1")
            return {**sample(MESSAGE).columns, "topic": topic}
        known = [name for name in map(event_named, inputs.events) if name]
        return sample(known[0] if known else MESSAGE).columns

    def _rows(self, rule: RuleSpec, event: Event) -> list[Event]:
        events = [event]
        for step in rule.transforms:
            output = self._make(step.cls, step.config, "rules", rule.name).process(events)
            for exc in output.exceptions.values():
                raise HeadraceError(f"rule {rule.name}: {describe(exc)}")
            events = [events[parent].output(row, rule.name) for parent, row in output.rows]
        return events

    def _connector_spec(self, name: str) -> ConnectorSpec:
        spec = self._spec.connectors.get(name) or self._spec.inline_connectors.get(name)
        if spec is None:
            known = ", ".join([*self._spec.connectors, *self._spec.inline_connectors]) or "none"
            raise HeadraceError(f"there is no connector {name!r}; there is {known}")
        return spec

    def _connector(self, spec: ConnectorSpec) -> Connector[Any]:
        connector: Connector[Any] = self._make(spec.cls, spec.config, "connectors", spec.name, broken=spec.broken)
        return connector

    async def _sink(self, name: str) -> Sink[Any]:
        """The sink of this name, open."""
        spec = self._spec.sinks.get(name)
        if spec is None:
            raise HeadraceError(f"there is no sink {name!r}; there is {', '.join(self._spec.sinks) or 'none'}")
        connector = None
        if spec.cls is not None and spec.cls.connector_type is not None:
            connector = self._connector(self._connector_spec(spec.connector or name))
        sink: Sink[Any] = self._make(spec.cls, spec.config, "sinks", name, broken=spec.broken, connector=connector)
        try:
            if connector is not None:
                await self._open(connector)
            await self._open(sink)
        except Exception as exc:
            raise HeadraceError(f"sink {name!r} cannot be opened: {describe(exc)}") from exc
        return sink

    async def _open(self, component: Component[Any]) -> None:
        if component not in self._up:
            await component.open()
            self._up.add(component)

    def _make(
        self,
        cls: type[Component[Any]] | None,
        config: ComponentConfig | None,
        kind: str,
        name: str,
        *,
        broken: str | None = None,
        connector: Connector[Any] | None = None,
    ) -> Any:
        """The component; a connector or a sink is made once."""
        if (kind, name) in self._made:
            return self._made[kind, name]
        if cls is None or broken:
            raise HeadraceError(f"{kind}.{name} cannot run: {broken or 'its plugin is missing'}")
        ctx = Context(name, self._spec.name, self._log, connector=connector, functions=self._registry.functions)
        made = cls(config, ctx)
        if kind != "rules":
            self._made[kind, name] = made
        return made

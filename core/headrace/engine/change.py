"""A change of configuration while events flow: everything new is made first, then swapped in between two batches.

    prepare     make the new parts; whatever is wrong is said here, and nothing has happened
    bring_up    open new connectors, take up the topics of new sinks and read them
    swap        from the next batch on, the new rules and sinks: one turn of the loop
    finish      sources, then sinks and connectors that changed or are gone, one by one and each for itself

A sink that changed keeps its topic: the new one begins with what the old one has not settled.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from headrace.components import Connector, Sink, Source, Transform
from headrace.config.model import PipelineSpec, RuleSpec, SinkSpec
from headrace.engine.delivery import SinkRunner
from headrace.engine.intake import SourcePump, Target
from headrace.engine.opening import close, open_until_up
from headrace.engine.parts import topic_options
from headrace.engine.plan import Plan, connection, connectors_of, why_idle
from headrace.engine.retry import describe
from headrace.engine.rules import Rule, RuleSet
from headrace.engine.tally import RuleTally
from headrace.errors import HeadraceError
from headrace.metrics import Metrics, Status
from headrace.stream import Topic, TopicOptions

if TYPE_CHECKING:
    from headrace.engine.pipeline import Pipeline

__all__ = ["DRAIN", "Change"]

DRAIN = 5.0
"""Seconds that what is under way has to end by itself before its sink or source is replaced or closed."""
UNLIMITED = TopicOptions(max_bytes=1 << 62)
"""Of a sink that is given nothing more: what is in hand must not wait for room."""


class Change:
    """One change of a pipeline. Its steps are called in order, each once; not beside another change."""

    def __init__(self, pipeline: Pipeline, old: PipelineSpec, new: PipelineSpec, plan: Plan | None = None) -> None:
        self.plan = plan or Plan(old, new)
        self._pipeline = pipeline
        self._old = old
        self._new = new
        self._idle = {name: why for name, sink in new.sinks.items() if (why := why_idle(new, sink))}
        self._connectors: dict[str, Connector[Any]] = {}
        self._sinks: dict[str, Sink[Any]] = {}
        self._transforms: dict[str, list[Transform[Any]]] = {}
        self._sources: dict[str, Source[Any]] = {}
        self._topics: dict[str, Topic] = {}
        self._retired: dict[str, SinkRunner] = {}
        self._closing: list[Connector[Any]] = []

    # -- prepare -----------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """HeadraceError says which part cannot be made."""
        parts, plan, new = self._pipeline.parts, self.plan, self._new
        await asyncio.to_thread(self._make_transforms)  # it takes time to compile a thousand rules, and events go on
        connectors = connectors_of(new)
        for key in (*plan.connectors.added, *plan.connectors.changed):
            if connectors[key].cls is not None and connectors[key].enable:
                self._connectors[key] = parts.connector(key, connectors[key])
        for name in (*plan.sinks.added, *plan.sinks.changed):
            if name not in self._idle:
                self._sinks[name] = parts.sink(new.sinks[name], self._connector(new.sinks[name]))

    def _make_transforms(self) -> None:
        for name, rule in self._new.rules.items():
            if rule.enable and self._why_stopped(rule) is None:
                self._transforms[name] = self._kept_transforms(rule) or self._pipeline.parts.transforms(rule)

    def _connector(self, sink: SinkSpec) -> Connector[Any] | None:
        spec = connection(self._new, sink)
        if spec is None:
            return None
        key = f"inline:{spec.name}" if spec.inline else spec.name
        return self._connectors.get(key) or self._pipeline.connectors.get(key)

    def _kept_transforms(self, rule: RuleSpec) -> list[Transform[Any]] | None:
        """Those it had, with what they remember, if only the rest of the rule changed."""
        before = self._old.rules.get(rule.name)
        same = before is not None and before.transforms == rule.transforms
        return self._pipeline.transforms.get(rule.name) if same else None

    def _why_stopped(self, rule: RuleSpec) -> str | None:
        for step in rule.transforms:
            if step.broken:
                return step.broken
        for name in rule.sinks:
            how, reason = self._idle.get(name, ("", ""))
            if how == "broken":
                return f"sink {name!r}: {reason}"
        return None

    # -- bring up ----------------------------------------------------------------------------------------------

    async def bring_up(self) -> None:
        """StreamError if a topic cannot be opened or read; then everything is as it was."""
        pipeline = self._pipeline
        for name, sink in self._new.sinks.items():
            if name not in pipeline.topics and self._idle.get(name, ("",))[0] != "broken":
                self._topics[name] = await pipeline.stream.topic(f"sink.{name}", topic_options(sink))
        self._rules = self._rule_set()
        for name in (*self.plan.sources.added, *self.plan.sources.changed):
            if self._why_no_source(name) is None:
                source = pipeline.parts.source(self._new.sources[name], self._rules.filters_of(name))
                self._sources[name] = source
        begun: list[tuple[str, SinkRunner]] = []
        try:
            for name in self._sinks:
                if topic := self._topics.get(name):
                    runner = pipeline.parts.runner(self._new.sinks[name], self._sinks[name], topic)
                    begun.append((name, runner))
                    pipeline.consumers[name] = await pipeline.stream.consume(topic, runner.handle)
        except BaseException:
            for name, runner in begun:
                await self._take_down(name, runner)
            raise
        for key, connector in self._connectors.items():
            if before := pipeline.connectors.get(key):
                self._closing.append(before)
            pipeline.connectors[key] = connector
            pipeline.opens(connector, open_until_up(connector))
        for name, runner in begun:
            pipeline.sinks[name] = runner
            runner.start()

    def _rule_set(self) -> RuleSet:
        for name, topic in self._topics.items():
            metrics = self._sinks[name].ctx.metrics if name in self._sinks else Metrics()
            self._pipeline.parts.tally(name, topic, metrics)
        rules = [self._rule(self._new.rules[name], steps) for name, steps in self._transforms.items()]
        return RuleSet(rules, self._pipeline.taps)

    def _rule(self, spec: RuleSpec, transforms: list[Transform[Any]]) -> Rule:
        parts = self._pipeline.parts
        idle = {name: self._idle[name][0] for name in spec.sinks if name in self._idle}
        return Rule(
            spec.name,
            transforms,
            [name for name in spec.sinks if name not in idle],
            spec.sources,
            parts.rules.setdefault(spec.name, RuleTally()),
            self._pipeline.rule_status.setdefault(spec.name, Status()),
            sum(how == "disabled" for how in idle.values()),
            [parts.sinks[name] for name, how in idle.items() if how == "resource"],
        )

    # -- swap --------------------------------------------------------------------------------------------------

    def swap(self) -> None:
        """No event meets a mixture of old and new."""
        pipeline, plan, new = self._pipeline, self.plan, self._new
        pipeline.topics |= self._topics
        for name in (*plan.sinks.changed, *plan.sinks.removed):
            if name in self._topics:  # it could not run before, and is up already
                continue
            if runner := pipeline.sinks.pop(name, None):
                self._retired[name] = runner
            topic = pipeline.topics.get(name)
            if topic is not None and name in self._sinks:
                pipeline.sinks[name] = pipeline.parts.runner(new.sinks[name], self._sinks[name], topic)
                topic.attach(topic_options(new.sinks[name]))
            elif topic is not None:
                topic.attach(UNLIMITED)
        pipeline.stage.swap(self._rules, {name: self._target(name) for name in pipeline.sinks})
        pipeline.idle["sinks"] = {name: _state(*why) for name, why in self._idle.items()}
        pipeline.transforms = self._transforms
        self._tell_rules()
        pipeline.spec = new

    def _target(self, name: str) -> Target:
        pipeline, runner = self._pipeline, self._pipeline.sinks[name]
        block = self._new.sinks[name].options.buffer.when_full == "block"
        return Target(pipeline.topics[name], runner.tally, block, runner.flowing)

    def _tell_rules(self) -> None:
        pipeline, rules = self._pipeline, self._new.rules
        for name in self.plan.rules.removed:
            pipeline.parts.forget("rules", name)
            pipeline.rule_status.pop(name, None)
        for spec in rules.values():
            pipeline.parts.rules.setdefault(spec.name, RuleTally())
            status = pipeline.rule_status.setdefault(spec.name, Status())
            if not spec.enable:
                status.set("disabled", "disabled")
            elif reason := self._why_stopped(spec):
                if status.set("stopped", reason):
                    pipeline.log.error("rule %s is stopped: %s", spec.name, reason)
                status.error(reason)
            else:
                status.set("running")

    # -- finish ------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """The other parts follow, without holding anybody who stays. HeadraceError names those that did not."""
        steps = [
            *(("", name, self._leave_source(name)) for name in self.plan.sources.removed),
            *(("sources", name, self._source(name)) for name in self._new.sources),
            *(("sinks", name, self._replace_sink(name, runner)) for name, runner in self._retired.items()),
            *(("sinks", n, self._start_sink(n)) for n in self.plan.sinks.changed if n not in self._retired),
        ]
        done = await asyncio.gather(*(step for _, _, step in steps), return_exceptions=True)
        for (kind, name, _), outcome in zip(steps, done, strict=True):
            if isinstance(outcome, Exception):
                self._tell_failure(kind, name, describe(outcome))
        await self._close_connectors()
        for name in self.plan.sinks.removed:
            if topic := self._pipeline.topics.pop(name, None):
                self._pipeline.spawn(self._pipeline.forget_sink(name, topic))
        if failed := [describe(each) for each in done if isinstance(each, BaseException)]:
            raise HeadraceError(f"the change was made, but {'; '.join(failed)}")

    def _tell_failure(self, kind: str, name: str, reason: str) -> None:
        """A part did not follow the change: its status says so."""
        if kind == "sources" and (pump := self._pipeline.sources.get(name)):  # the one before reads on
            pump.status.error(reason)
        elif kind == "sources":
            self._pipeline.idle["sources"][name] = _state("broken", reason)
        elif kind == "sinks" and (runner := self._pipeline.sinks.get(name)):
            runner.status.set("stopped", reason)
            runner.status.error(reason)

    def _why_no_source(self, name: str) -> Status | None:
        spec = self._new.sources[name]
        if not spec.enable:
            return _state("disabled", "disabled")
        return _state("broken", spec.broken or "broken") if spec.cls is None or spec.config is None else None

    async def _source(self, name: str) -> None:
        pipeline = self._pipeline
        pipeline.idle["sources"].pop(name, None)
        if why := self._why_no_source(name):
            await self._leave_source(name, forget=False)
            pipeline.idle["sources"][name] = why
            return
        filters = self._rules.filters_of(name)
        source = self._sources.get(name)
        if source is None:
            if await _follows(pipeline.sources[name], filters):
                return
            source = pipeline.parts.source(self._new.sources[name], filters)
        await self._leave_source(name, forget=False)
        pump = SourcePump(source, pipeline.events, pipeline.stage, self._new.stream.max_event_bytes)
        pipeline.sources[name] = pump
        pump.start()

    async def _leave_source(self, name: str, forget: bool = True) -> None:
        pump = self._pipeline.sources.pop(name, None)
        if pump is not None:
            await pump.leave(DRAIN)
        if forget:
            self._pipeline.parts.forget("sources", name)
            self._pipeline.idle["sources"].pop(name, None)

    async def _replace_sink(self, name: str, runner: SinkRunner) -> None:
        await self._take_down(name, runner)
        await self._start_sink(name)

    async def _take_down(self, name: str, runner: SinkRunner) -> None:
        await runner.stop(DRAIN)
        if consumer := self._pipeline.consumers.pop(name, None):
            await consumer.stop(0)
        runner.retire()
        await close(runner.sink)

    async def _start_sink(self, name: str) -> None:
        pipeline = self._pipeline
        if (runner := pipeline.sinks.get(name)) and name not in pipeline.consumers:
            pipeline.consumers[name] = await pipeline.stream.consume(pipeline.topics[name], runner.handle)
            runner.start()

    async def _close_connectors(self) -> None:
        pipeline, wanted = self._pipeline, connectors_of(self._new)
        for key in list(pipeline.connectors):
            if key not in wanted or not wanted[key].enable:
                self._closing.append(pipeline.connectors.pop(key))
        for key in self.plan.connectors.removed:
            pipeline.parts.forget("connectors", key)
        pipeline.idle["connectors"] = {
            spec.name: _state("disabled" if not spec.enable else "broken", spec.broken or "broken")
            for key, spec in wanted.items()
            if key not in pipeline.connectors and not spec.inline
        }
        for connector in self._closing:
            await pipeline.close_connector(connector)


async def _follows(pump: SourcePump, filters: tuple[str, ...]) -> bool:
    """Does a source that stays read what the rules want now?"""
    if pump.filters == filters or pump.status.state == "stopped":
        return True
    pump.filters = filters
    try:
        return await pump.source.refilter(filters)
    except Exception as exc:  # noqa: BLE001 - a source may raise anything, and is opened anew then
        pump.log.warning("cannot change its topics, opening it again: %s", describe(exc))
        return False


def _state(how: str, reason: str) -> Status:
    """The status of a part that is configured and does not run."""
    if how == "broken":
        status = Status("stopped", reason)
        status.error(reason)
        return status
    return Status("disabled", reason)

"""Components made of what a configuration says of them. Counters are kept by name, whatever becomes of a part."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.components import Component, Connector, Context, JoiningSink, Sink, Source, Transform
from headrace.config.model import ConnectorSpec, RuleSpec, SinkSpec, SourceSpec
from headrace.engine.dead_letters import Outlet, Quiet, to_other_sink
from headrace.engine.delivery import SinkRunner
from headrace.engine.joined import JoinedRunner
from headrace.engine.rates import Watched
from headrace.engine.report import statuses
from headrace.engine.retry import Failure, describe
from headrace.engine.tally import RuleTally, SinkTally, SourceTally, Totals
from headrace.errors import HeadraceError
from headrace.events import Event
from headrace.lanes import Item
from headrace.metrics import Metrics, Status
from headrace.stream import Topic, TopicOptions

if TYPE_CHECKING:
    from headrace.engine.pipeline import Pipeline

__all__ = ["Parts", "topic_options"]


class Parts:
    """Makes components, and remembers the counters of each name."""

    def __init__(self, pipeline: Pipeline, log: logging.Logger) -> None:
        self.sources: dict[str, SourceTally] = {}
        self.rules: dict[str, RuleTally] = {}
        self.sinks: dict[str, SinkTally] = {}
        """Also of sinks that are gone and have left something in the stream."""
        self.connectors: dict[str, Metrics] = {}
        self.totals = Totals(self.sources, self.rules, self.sinks)
        self._pipeline = pipeline
        self._log = log

    def forget(self, kind: str, name: str) -> None:
        """The part is gone, and its counters with it."""
        kept: dict[str, dict[str, Any]] = {"sources": self.sources, "connectors": self.connectors, "rules": self.rules}
        if kind in kept:
            kept[kind].pop(name, None)

    def watched(self) -> dict[str, Mapping[str, Watched]]:
        """Those that have rates, by kind."""
        return {"sources": self.sources, "rules": self.rules, "sinks": self.sinks}

    def sampled(self) -> list[Watched]:
        """All that is looked at once a second; the parts before their totals."""
        return [*self.sources.values(), *self.rules.values(), *self.sinks.values(), self.totals]

    def gauges(self) -> set[str]:
        """Names of all values that may also fall."""
        tallies: list[SourceTally | SinkTally] = [*self.sources.values(), *self.sinks.values()]
        known = [*self.connectors.values(), *(tally.metrics for tally in tallies)]
        return {"pending", *(name for metrics in known for name in metrics.gauges)}

    def reset(self, kind: str, name: str) -> None:
        """Count from now on, errors too. What a sink has waiting is to it as if it had been found at its start."""
        resets: dict[str, Mapping[str, Any]] = {**self.watched(), "connectors": self.connectors}
        if (found := resets[kind].get(name)) is not None:
            found.reset()
        if (status := statuses(self._pipeline)[kind].get(name)) is not None:
            status.forget()

    def _context(self, kind: str, name: str, metrics: Metrics, **more: Any) -> Context:
        pipeline = self._pipeline
        return Context(
            name=name,
            pipeline=pipeline.spec.name,
            log=self._log.getChild(f"{kind}.{name}"),
            metrics=metrics,
            status=Status(),
            state_dir=pipeline.spec.state_dir,
            functions=pipeline.registry.functions,
            **more,
        )

    # -- components --------------------------------------------------------------------------------------------

    def connector(self, key: str, spec: ConnectorSpec) -> Connector[Any]:
        assert spec.cls is not None
        metrics = self.connectors.setdefault(key, Metrics())
        made: Connector[Any] = _make(spec.cls, spec.config, self._context("connectors", spec.name, metrics))
        return made

    def sink(self, spec: SinkSpec, connector: Connector[Any] | None) -> Sink[Any]:
        assert spec.cls is not None
        metrics = self.sinks[spec.name].metrics if spec.name in self.sinks else Metrics()
        made: Sink[Any] = _make(spec.cls, spec.config, self._context("sinks", spec.name, metrics, connector=connector))
        return made

    def source(self, spec: SourceSpec, filters: tuple[str, ...]) -> Source[Any]:
        assert spec.cls is not None
        metrics = self.sources.setdefault(spec.name, SourceTally()).metrics
        made: Source[Any] = _make(spec.cls, spec.config, self._context("sources", spec.name, metrics, filters=filters))
        return made

    def transforms(self, spec: RuleSpec) -> list[Transform[Any]]:
        made: list[Transform[Any]] = []
        for step in spec.transforms:
            assert step.cls is not None
            made.append(_make(step.cls, step.config, self._context("rules", spec.name, Metrics())))
        return made

    # -- what the engine has beside a sink ---------------------------------------------------------------------

    def tally(self, name: str, topic: Topic, metrics: Metrics) -> SinkTally:
        """The counters of a sink: those it had, or new ones that begin with what was found in the stream."""
        tally = self.sinks.get(name)
        if tally is None:
            tally = self.sinks[name] = SinkTally(metrics)
            tally.recovered(topic.recovered)
            metrics.gauge("queuing_bytes", lambda: topic.unsettled_bytes)
            metrics.gauge("queuing_age", lambda: max(time.time() - topic.oldest / 1000, 0.0) if topic.oldest else 0.0)
        return tally

    def runner(self, spec: SinkSpec, sink: Sink[Any], topic: Topic) -> SinkRunner:
        options, taps = spec.options, self._pipeline.taps
        tally, quiet = self.tally(spec.name, topic, sink.ctx.metrics), Quiet(sink.ctx.log)
        kind = JoinedRunner if options.batch.size > 1 and isinstance(sink, JoiningSink) else SinkRunner
        runner = kind(spec, sink, tally, self.rules, self._outlet(spec, quiet), taps)

        def dropped(n: int, events: Sequence[Event]) -> None:
            tally.dropped_unread(n, events, self.rules, oldest=options.buffer.when_full == "drop_oldest")
            for event in events if taps.tracer else ():
                taps.gave_up(spec.name, event, "dropped", "queue_full")
            if spec.name in self._pipeline.topics:  # else somebody purges what the sink has left
                quiet.warning("queue_full", f"{n} events dropped: the buffer is full ({options.buffer.when_full})")

        topic.on_dropped = dropped
        topic.on_full = runner.drop_oldest if options.buffer.when_full == "drop_oldest" else None
        return runner

    def _outlet(self, spec: SinkSpec, quiet: Quiet) -> Outlet:
        pipeline, on_error = self._pipeline, spec.options.on_error

        def drop(item: Item, failure: Failure, error: Exception) -> asyncio.Future[None] | None:
            quiet.warning("drop", f"event {item.event.id} dropped (on_error: drop): {failure.reason}")
            return None

        def other(item: Item, failure: Failure, error: Exception) -> asyncio.Future[None]:
            topic = pipeline.topics.get(on_error)
            if topic is None:
                return letter(item, failure, error)
            quiet.warning("other", f"event {item.event.id} goes to sink {on_error}: {failure.reason}")
            return to_other_sink(spec.name, topic, self.sinks[on_error].sent, item, failure, error)

        def letter(item: Item, failure: Failure, error: Exception) -> asyncio.Future[None]:
            assert pipeline.dead_letters is not None
            return pipeline.dead_letters.keep(spec.name, item, failure, error)

        outlets: dict[str, Outlet] = {"dead_letter": letter, "drop": drop}
        return outlets.get(on_error, other)


def topic_options(spec: SinkSpec) -> TopicOptions:
    """How much may wait for a sink."""
    buffer = spec.options.buffer
    return TopicOptions(max_bytes=buffer.max_bytes, when_full=buffer.when_full)


def _make(cls: type[Component[Any]], config: Any, ctx: Context) -> Any:
    try:
        return cls(config, ctx)
    except Exception as exc:
        raise HeadraceError(f"{ctx.name}: cannot be made: {describe(exc)}") from exc

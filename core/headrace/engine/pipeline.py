"""One pipeline: its parts put together, started, watched, drained, stopped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from headrace.components import Component, Connector, Context, PipelineInfo, Sink, Source
from headrace.config.model import PipelineSpec, RuleSpec, SinkSpec
from headrace.engine.dead_letters import DEAD_LETTERS, DeadLetters, Outlet, Quiet, to_other_sink
from headrace.engine.delivery import SinkRunner
from headrace.engine.intake import RuleStage, SourcePump, Target
from headrace.engine.joined import JoinedRunner
from headrace.engine.opening import close, open_until_up
from headrace.engine.retry import Failure
from headrace.engine.rules import Rule, RuleSet
from headrace.engine.tally import RuleTally, SinkTally, source_metrics
from headrace.errors import HeadraceError
from headrace.events import Event
from headrace.lanes import Item
from headrace.metrics import Metrics, State, Status
from headrace.registry import Registry
from headrace.stream import Stream, Topic, TopicOptions

__all__ = ["Pipeline"]

EVENTS = "events"


class Pipeline:
    """What a configuration describes, running. Call from inside the event loop."""

    def __init__(self, spec: PipelineSpec, registry: Registry, log: logging.Logger | None = None) -> None:
        self.spec = spec
        self.registry = registry
        self.log = log or logging.getLogger("headrace")
        self.status = Status()
        self.stream = Stream(spec.stream, name=spec.name, directory=spec.state_dir, log=self.log.getChild("stream"))
        self.sources: dict[str, SourcePump] = {}
        self.connectors: dict[str, Connector[Any]] = {}
        self.sinks: dict[str, SinkRunner] = {}
        self.topics: dict[str, Topic] = {}
        self.tallies: dict[str, RuleTally] = {name: RuleTally() for name in spec.rules}
        self.rule_status: dict[str, Status] = {name: Status() for name in spec.rules}
        self.broken: dict[str, dict[str, str]] = {"sources": {}, "connectors": {}, "sinks": {}}
        self.dead_letters: DeadLetters | None = None
        self._stage: RuleStage | None = None
        self._events: Topic | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    # -- start -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the stream and everything on it. Peers that are away do not stop the start; a locked log does."""
        stream, options = self.stream, self.spec.stream
        await stream.open()
        self._events = await stream.topic(EVENTS, TopicOptions(max_bytes=options.max_bytes))
        letters = await stream.topic(
            DEAD_LETTERS, TopicOptions(max_bytes=options.dead_letter_bytes, when_full="drop_oldest", consumed=False)
        )
        self.dead_letters = DeadLetters(letters, self.log.getChild("dead_letters"))
        self._open_connectors()
        for sink in self.spec.sinks.values():
            await self._open_sink(sink)
        self._stage = RuleStage(RuleSet(self._rules()), self.log.getChild("rules"))
        for name, runner in self.sinks.items():
            block = self.spec.sinks[name].options.buffer.when_full == "block"
            self._stage.sinks[name] = Target(self.topics[name], runner.tally, block, runner.flowing)
        for runner in self.sinks.values():
            await stream.consume(self.topics[runner.name], runner.handle)
        await stream.consume(self._events, self._stage.handle)
        self._spawn(self._stage.keep_time())
        self._open_sources()
        self.status.set("running")
        for error in self.registry.notify_started(self._info()):
            self.log.error("a plugin's pipeline_started failed: %r", error)

    def _info(self) -> PipelineInfo:
        spec = self.spec
        return PipelineInfo(spec.name, sources=tuple(spec.sources), rules=tuple(spec.rules), sinks=tuple(spec.sinks))

    def _context(self, kind: str, name: str, **more: Any) -> Context:
        return Context(
            name=name,
            pipeline=self.spec.name,
            log=self.log.getChild(f"{kind}.{name}"),
            status=Status(),
            state_dir=self.spec.state_dir,
            functions=self.registry.functions,
            **{"metrics": Metrics(), **more},
        )

    def _open_connectors(self) -> None:
        for spec in (*self.spec.connectors.values(), *self.spec.inline_connectors.values()):
            if spec.cls is None or spec.config is None:
                self.broken["connectors"][spec.name] = spec.broken or "broken"
                continue
            key = f"inline:{spec.name}" if spec.inline else spec.name
            connector = spec.cls(spec.config, self._context("connectors", spec.name))
            self.connectors[key] = connector
            self._spawn(open_until_up(connector))

    async def _open_sink(self, spec: SinkSpec) -> None:
        connector = None
        broken = spec.broken
        if spec.cls is not None and spec.cls.connector_type is not None:
            key = spec.connector if spec.connector in self.spec.connectors else f"inline:{spec.name}"
            connector = self.connectors.get(key or "")
            if connector is None:
                broken = broken or f"connector {spec.connector!r} is broken"
        if broken or spec.cls is None or spec.config is None:
            self.broken["sinks"][spec.name] = broken or "broken"
            return
        options = spec.options
        topic = await self.stream.topic(
            f"sink.{spec.name}", TopicOptions(max_bytes=options.buffer.max_bytes, when_full=options.buffer.when_full)
        )
        ctx = self._context("sinks", spec.name, connector=connector)
        sink: Sink[Any] = spec.cls(spec.config, ctx)
        tally = SinkTally(ctx.metrics)
        tally.recovered(topic.recovered)
        kind = JoinedRunner if options.batch.size > 1 and hasattr(sink, "write_joined") else SinkRunner
        runner = kind(spec, sink, tally, self.tallies, self._outlet(spec))
        quiet = Quiet(ctx.log)

        def dropped(n: int, events: Sequence[Event]) -> None:
            tally.dropped_unread(n, events, self.tallies, oldest=options.buffer.when_full == "drop_oldest")
            quiet.warning("queue_full", f"{n} events dropped: the buffer is full ({options.buffer.when_full})")

        topic.on_dropped = dropped
        if options.buffer.when_full == "drop_oldest":
            topic.on_full = runner.drop_oldest
        ctx.metrics.gauge("queuing_bytes", lambda: topic.unsettled_bytes)
        ctx.metrics.gauge("queuing_age", lambda: max(time.time() - topic.oldest / 1000, 0.0) if topic.oldest else 0.0)
        self.topics[spec.name] = topic
        self.sinks[spec.name] = runner
        runner.start()

    def _outlet(self, spec: SinkSpec) -> Outlet:
        quiet = Quiet(self.log.getChild(f"sinks.{spec.name}"))
        on_error = spec.options.on_error

        def drop(item: Item, failure: Failure, error: Exception) -> asyncio.Future[None] | None:
            quiet.warning("drop", f"event {item.event.id} dropped (on_error: drop): {failure.reason}")
            return None

        def other(item: Item, failure: Failure, error: Exception) -> asyncio.Future[None]:
            runner = self.sinks.get(on_error)
            if runner is None:
                return letter(item, failure, error)
            quiet.warning("other", f"event {item.event.id} goes to sink {on_error}: {failure.reason}")
            return to_other_sink(spec.name, self.topics[on_error], runner.tally.sent, item, failure, error)

        def letter(item: Item, failure: Failure, error: Exception) -> asyncio.Future[None]:
            assert self.dead_letters is not None
            return self.dead_letters.keep(spec.name, item, failure, error)

        outlets: dict[str, Outlet] = {"dead_letter": letter, "drop": drop}
        return outlets.get(on_error, other)

    def _rules(self) -> list[Rule]:
        rules = []
        for spec in self.spec.rules.values():
            status = self.rule_status[spec.name]
            reason = self._broken_rule(spec)
            if reason:
                status.error(reason)
                status.set("stopped", reason)
                self.log.error("rule %s is stopped: %s", spec.name, reason)
                continue
            transforms = []
            for step in spec.transforms:
                assert step.cls is not None
                transforms.append(step.cls(step.config, self._context("rules", spec.name)))
            rules.append(Rule(spec.name, transforms, spec.sinks, spec.sources, self.tallies[spec.name], status))
            status.set("running")
        return rules

    def _broken_rule(self, spec: RuleSpec) -> str | None:
        for step in spec.transforms:
            if step.broken:
                return step.broken
        for name in spec.sinks:
            if name in self.broken["sinks"]:
                return f"sink {name!r}: {self.broken['sinks'][name]}"
        return None

    def _open_sources(self) -> None:
        assert self._stage is not None
        assert self._events is not None
        for spec in self.spec.sources.values():
            if spec.cls is None or spec.config is None:
                self.broken["sources"][spec.name] = spec.broken or "broken"
                continue
            filters = self._stage.rules.filters_of(spec.name)
            ctx = self._context("sources", spec.name, filters=filters, metrics=source_metrics())
            source: Source[Any] = spec.cls(spec.config, ctx)
            pump = SourcePump(source, self._events, self._stage, self.spec.stream.max_event_bytes)
            self.sources[spec.name] = pump
            pump.start()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- stop --------------------------------------------------------------------------------------------------

    async def stop(self, timeout: float | None = None, error: Exception | None = None) -> int:
        """Stop intake, drain up to ``timeout`` seconds, close. Returns the unsettled events left in the stream."""
        if self._stopping:
            return 0
        self._stopping = True
        timeout = self.spec.shutdown_timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        for pump in self.sources.values():
            await pump.stop_reading()
        await self._until(lambda: not self.unsettled, deadline)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = self.unsettled
        for pump in self.sources.values():
            if pump.status.state != "stopped":
                await close(pump.source)
        for runner in self.sinks.values():
            await runner.stop()
        await self.stream.close()
        components: list[Component[Any]] = [*(r.sink for r in self.sinks.values()), *self.connectors.values()]
        for component in components:
            await close(component)
        self.status.set("stopped")
        for raised in self.registry.notify_stopped(self._info(), error):
            self.log.error("a plugin's pipeline_stopped failed: %r", raised)
        return left

    async def _until(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - several topics, at shutdown only
            await asyncio.sleep(0.01)

    @property
    def unsettled(self) -> int:
        """Events that are in the stream and not settled."""
        events = self._events.unsettled if self._events is not None else 0
        return events + sum(topic.unsettled for topic in self.topics.values())

    async def give(self, sink: str, events: Sequence[Event]) -> None:
        """Give events to a sink once more. HeadraceError if there is no such sink, or the stream does not take them."""
        if sink not in self.sinks:
            raise HeadraceError(f"there is no sink {sink!r} running")
        topic, tally = self.topics[sink], self.sinks[sink].tally
        await topic.room()
        tally.sent(len(events))
        tally.metrics.add("replayed", len(events))
        try:
            await topic.send(events)
        except BaseException:
            tally.sent(-len(events))
            tally.metrics.add("replayed", -len(events))
            raise

    # -- what people see ---------------------------------------------------------------------------------------

    @property
    def blocked_by(self) -> str | None:
        """The sink that holds the rules and the sources, if any."""
        return self._stage.blocked_by if self._stage is not None else None

    def state(self) -> tuple[State, str]:
        """The state of the whole, and the one sentence why it is not running."""
        if self.status.state != "running":
            return self.status.state, self.status.reason
        if (blocked := self.blocked_by) is not None:
            return "degraded", self._blocked_reason(blocked)
        for kind, parts in self._statuses().items():
            for name, status in parts.items():
                if status.state in ("connecting", "degraded") or (status.state == "stopped" and status.last_error):
                    return "degraded", f"{kind[:-1]} {name}: {status.reason or status.state}"
        for kind, broken in self.broken.items():
            for name, reason in broken.items():
                return "degraded", f"{kind[:-1]} {name}: {reason}"
        return "running", ""

    def _blocked_reason(self, name: str) -> str:
        topic = self.topics.get(name)
        if topic is None:
            return "the stream does not take events; the rules and the sources wait"
        most = self.spec.sinks[name].options.buffer.max_bytes
        reason = self.sinks[name].status.reason
        return (
            f"sink {name} is full ({topic.unsettled} events, {topic.unsettled_bytes} of {most} bytes) and holds the "
            f"rules and the sources" + (f": {reason}" if reason else "")
        )

    def _statuses(self) -> dict[str, dict[str, Status]]:
        return {
            "sources": {name: pump.status for name, pump in self.sources.items()},
            "connectors": {name.removeprefix("inline:"): c.ctx.status for name, c in self.connectors.items()},
            "rules": self.rule_status,
            "sinks": {name: runner.status for name, runner in self.sinks.items()},
        }

    def snapshot(self) -> dict[str, Any]:
        """The status document: per component its state, reason, since, last error and counters."""
        state, reason = self.state()
        counters: dict[str, Callable[[str], dict[str, int | float]]] = {
            "sources": lambda name: self.sources[name].metrics.snapshot(),
            "connectors": lambda name: self._connector(name).ctx.metrics.snapshot(),
            "rules": lambda name: self.tallies[name].snapshot(),
            "sinks": lambda name: self.sinks[name].tally.metrics.snapshot(),
        }
        document: dict[str, Any] = {
            "name": self.spec.name,
            "state": state,
            "reason": reason,
            "since": self.status.since,
        }
        for kind, parts in self._statuses().items():
            document[kind] = {
                name: {**status.snapshot(), "counters": counters[kind](name)} for name, status in parts.items()
            }
            for name, why in self.broken.get(kind, {}).items():
                document[kind][name] = {"state": "stopped", "reason": why, "since": self.status.since,
                                        "last_error": why, "last_error_at": None, "counters": {}}  # fmt: skip
        for name, runner in self.sinks.items():
            document["sinks"][name] |= {"flow": runner.flow(), "histograms": runner.tally.histograms()}
        document["stream"] = self._stream_snapshot()
        return document

    def _connector(self, name: str) -> Connector[Any]:
        return self.connectors[name] if name in self.connectors else self.connectors[f"inline:{name}"]

    def _stream_snapshot(self) -> dict[str, Any]:
        topics = {"events": self._events, **{f"sink.{name}": topic for name, topic in self.topics.items()}}
        orphans = self.stream.orphans()
        return {
            "topics": {
                name: {"unsettled": topic.unsettled, "bytes": topic.unsettled_bytes, "oldest": topic.oldest,
                       "corrupt": topic.corrupt}
                for name, topic in topics.items() if topic is not None
            },
            "dead_letters": self.dead_letters.metrics.snapshot() if self.dead_letters else {},
            "orphans": {name: {"events": events, "bytes": size} for name, (events, size) in orphans.items()},
            "blocked_by": self.blocked_by,
        }  # fmt: skip

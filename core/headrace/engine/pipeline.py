"""One pipeline: its parts put together, started, changed, drained, stopped."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from headrace.components import Component, Connector, PipelineInfo, Transform
from headrace.config.model import PipelineSpec
from headrace.engine.change import Change
from headrace.engine.dead_letters import DEAD_LETTERS, DeadLetters
from headrace.engine.delivery import SinkRunner
from headrace.engine.intake import RuleStage, SourcePump
from headrace.engine.opening import close
from headrace.engine.parts import Parts
from headrace.engine.plan import Plan
from headrace.engine.rates import keep_rates
from headrace.engine.report import snapshot, state
from headrace.engine.rules import RuleSet
from headrace.engine.taps import Taps
from headrace.errors import HeadraceError, StreamError
from headrace.events import Event
from headrace.metrics import State, Status
from headrace.registry import Registry
from headrace.stream import Consumer, Stream, Topic, TopicOptions

__all__ = ["Configuration", "Pipeline"]

EVENTS = "events"
LAST = 0.2
"""Seconds for what is on its way to the dead letters when a stop has taken its time."""


class Configuration:
    """Which configuration runs: its number, since when, and what is wrong with the one that came after it."""

    def __init__(self) -> None:
        self.generation = 1
        self.since = time.time()
        self.error: str | None = None
        self.error_at: float | None = None

    def applied(self) -> None:
        self.generation += 1
        self.since = time.time()

    def refused(self, why: str) -> None:
        self.error, self.error_at = why, time.time()

    def accepted(self) -> None:
        """What was read last is what runs."""
        self.error = self.error_at = None

    def snapshot(self) -> dict[str, object]:
        return {"generation": self.generation, "since": self.since, "error": self.error, "error_at": self.error_at}


class Pipeline:
    """What a configuration describes, running. Call from inside the event loop."""

    def __init__(self, spec: PipelineSpec, registry: Registry, log: logging.Logger | None = None) -> None:
        self.spec = spec
        self.registry = registry
        self.log = log or logging.getLogger("headrace")
        self.status = Status()
        self.config = Configuration()
        self.stream = Stream(spec.stream, name=spec.name, directory=spec.state_dir, log=self.log.getChild("stream"))
        self.parts = Parts(self, self.log)
        self.sources: dict[str, SourcePump] = {}
        self.connectors: dict[str, Connector[Any]] = {}
        self.transforms: dict[str, list[Transform[Any]]] = {}
        self.sinks: dict[str, SinkRunner] = {}
        self.topics: dict[str, Topic] = {}
        self.consumers: dict[str, Consumer] = {}
        self.rule_status: dict[str, Status] = {}
        self.idle: dict[str, dict[str, Status]] = {"sources": {}, "connectors": {}, "sinks": {}}
        """Parts that are configured and do not run, disabled or broken."""
        self.dead_letters: DeadLetters | None = None
        self.stage = RuleStage(RuleSet(()), self.log.getChild("rules"))
        self.events: Topic
        self.started = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._openings: dict[Connector[Any], asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()
        self._stopping = False

    # -- start -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the stream and everything on it. Peers that are away do not stop the start; a locked log does."""
        stream, options = self.stream, self.spec.stream
        await stream.open()
        self.events = await stream.topic(EVENTS, TopicOptions(max_bytes=options.max_bytes))
        letters = await stream.topic(
            DEAD_LETTERS, TopicOptions(max_bytes=options.dead_letter_bytes, when_full="drop_oldest", consumed=False)
        )
        self.dead_letters = DeadLetters(letters, self.log.getChild("dead_letters"))
        if self.spec.tracing:
            from headrace.engine.tracing import Tracer  # it needs packages that few have

            self.taps.tracer = Tracer(self.spec.tracing, self.spec.name)
        self.started = True
        nothing = dataclasses.replace(self.spec, sources={}, connectors={}, inline_connectors={}, rules={}, sinks={})
        change = Change(self, nothing, self.spec)
        await change.prepare()
        await change.bring_up()
        change.swap()
        await stream.consume(self.events, self.stage.handle)
        self.spawn(self.stage.keep_time())
        self.spawn(keep_rates(self.parts.sampled))
        await change.finish()
        self.status.set("running")
        for error in self.registry.notify_started(self._info()):
            self.log.error("a plugin's pipeline_started failed: %r", error)

    def _info(self) -> PipelineInfo:
        spec = self.spec
        return PipelineInfo(spec.name, sources=tuple(spec.sources), rules=tuple(spec.rules), sinks=tuple(spec.sinks))

    def spawn(self, coroutine: Any) -> asyncio.Task[None]:
        """Run something beside; it ends with the pipeline."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- change ------------------------------------------------------------------------------------------------

    def plan(self, spec: PipelineSpec) -> Plan:
        """What ``apply`` would change. HeadraceError if some of it needs a restart."""
        plan = Plan(self.spec, spec)
        if plan.fixed:
            keys = ", ".join("stream.url" if key == "state_dir" else key for key in plan.fixed)
            raise HeadraceError(f"{keys}: changed, and that needs a restart; nothing was applied")
        return plan

    async def apply(self, spec: PipelineSpec) -> Plan:
        """Go on with another configuration: all of it, or, with a HeadraceError that says why, nothing."""
        async with self._changing:
            if self._stopping:
                raise HeadraceError("the pipeline is stopping")
            plan = self.plan(spec)
            if not plan:
                self.spec = spec
                return plan
            await self._change(Change(self, self.spec, spec, plan), self.config.applied)
            return plan

    async def restart(self, kind: str, name: str) -> None:
        """Close a source, connector or sink and make it anew; what waits for it stays. HeadraceError as of apply."""
        async with self._changing:
            if self._stopping:
                raise HeadraceError("the pipeline is stopping")
            await self._change(Change(self, self.spec, self.spec, Plan.restart(self.spec, kind, name)))

    @staticmethod
    async def _change(change: Change, swapped: Callable[[], None] = lambda: None) -> None:
        await change.prepare()
        await change.bring_up()
        change.swap()
        swapped()
        await change.finish()

    async def forget_sink(self, name: str, topic: Topic) -> None:
        """A sink is gone: so is its topic, if nothing in it waits for another sink of that name."""
        await self.stage.handed_over()
        async with self._changing:
            if name not in self.topics and not topic.unsettled and not self.stage.owes(topic):
                try:
                    await self.stream.purge(topic.name)
                except StreamError as exc:
                    self.log.debug("the topic stays: %s", exc)
                else:
                    self.parts.sinks.pop(name, None)

    async def purge(self, topic: str) -> None:
        """Delete what a sink that is no more has left in the stream. StreamError if there is no such orphan."""
        async with self._changing:
            orphans = self.stream.orphans()
            if topic not in orphans or topic.removeprefix("sink.") in self.topics:
                raise StreamError(f"{topic}: no orphan of that name")
            await self.stream.purge(topic)
            self.log.warning("%s: %d events purged, as was asked for", topic, orphans[topic][0])
            self.parts.sinks.pop(topic.removeprefix("sink."), None)

    def opens(self, connector: Connector[Any], opening: Any) -> None:
        """Open a connector in the background."""
        task = self._openings[connector] = self.spawn(opening)
        task.add_done_callback(lambda _: self._openings.pop(connector, None))

    async def close_connector(self, connector: Connector[Any]) -> None:
        if opening := self._openings.get(connector):
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await close(connector)

    # -- stop --------------------------------------------------------------------------------------------------

    async def stop(self, timeout: float | None = None, error: Exception | None = None) -> int:
        """Stop intake, drain up to ``timeout`` seconds, close. Returns the unsettled events left in the stream."""
        if self._stopping:
            return 0
        self._stopping = True
        async with self._changing:
            return await self._stop(self.spec.shutdown_timeout if timeout is None else timeout, error)

    async def _stop(self, timeout: float, error: Exception | None) -> int:
        deadline = time.monotonic() + timeout
        for pump in self.sources.values():
            await pump.stop_reading()
        await self._until(lambda: not self._moving, deadline)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = self.unsettled
        for pump in self.sources.values():
            if pump.status.state != "stopped":
                await close(pump.source)
        for runner in self.sinks.values():
            await runner.stop()
        await self.stream.close(max(deadline - time.monotonic(), LAST))  # nobody is left who could settle much
        components: list[Component[Any]] = [*(r.sink for r in self.sinks.values()), *self.connectors.values()]
        for component in components:
            await close(component)
        if self.taps.tracer:
            await asyncio.to_thread(self.taps.tracer.close)
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
        events = self.events.unsettled if self.started else 0
        return events + sum(topic.unsettled for topic in self.topics.values())

    @property
    def _moving(self) -> int:
        """Those among them that a stop waits for: not what waits for a disabled sink."""
        return self.unsettled - sum(topic.unsettled for name, topic in self.topics.items() if name not in self.sinks)

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
    def taps(self) -> Taps:
        """Who looks at passing events."""
        return self.stage.taps

    @property
    def blocked_by(self) -> str | None:
        """The sink that holds the rules and the sources, if any; ``stream`` if nothing can be stored."""
        return "stream" if self.stream.trouble() else self.stage.blocked_by

    def state(self) -> tuple[State, str]:
        """The state of the whole, and the one sentence why it is not running."""
        return state(self)

    def snapshot(self) -> dict[str, Any]:
        """The status document."""
        return snapshot(self)

"""From a source into the stream, and from the stream through the rules into the sinks' topics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from headrace.components import Source, Transform
from headrace.engine.dead_letters import Quiet
from headrace.engine.opening import FIRST, LONGEST, close, open_until_up
from headrace.engine.retry import describe
from headrace.engine.rules import Rule, RuleSet
from headrace.engine.tally import SinkTally
from headrace.engine.taps import Taps
from headrace.errors import EndOfInput, NotConnected
from headrace.events import Ack, Event, now_ms
from headrace.stream import Record, Topic

__all__ = ["RuleStage", "SourcePump", "Target"]

FOLLOWING = 0.005  # events this close to each other are worth a linger
LINGER = 0.001
TICK = 0.25
FEW = 64
BEHIND = 512 << 10  # what waits longer than this in memory is out of every cache when its turn comes
PATIENCE = 50e-6  # a source waits this long an event at most, so it takes in 20,000 a second whatever else happens


class Target(NamedTuple):
    """A sink as the rules see it: its topic, its counters, whether it blocks when full, whether delivery flows."""

    topic: Topic
    tally: SinkTally
    block: bool
    flowing: Callable[[], bool]


class RuleStage:
    """Reads ``events``, runs the rules, writes ``sink.<name>``; settles a record when every result is in the stream."""

    def __init__(self, rules: RuleSet, log: logging.Logger) -> None:
        self.rules = rules
        self.sinks: dict[str, Target] = {}
        self.taps = Taps()
        self.blocked_by: str | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._handing = asyncio.Event()
        self._handing.set()
        self._log = log
        self._failed: list[tuple[Topic, Sequence[Event], _Pending]] = []

    def behind(self) -> bool:
        """Does a sink whose peer is up have more waiting than memory holds?"""
        return any(sink.topic.unsettled_bytes > BEHIND and sink.flowing() for sink in self.sinks.values())

    async def handle(self, record: Record) -> None:
        """One record of ``events``. Waits while a sink that blocks is full."""
        await self._make_up()
        events = record.events
        if record.settled:
            events = [event for i, event in enumerate(events) if i not in record.settled]
        outputs = [(name, self.sinks[name], rows) for name, rows in self.rules.process(events).items()]
        self._handing.clear()  # from here on rules and sinks may be swapped: what is in hand goes where it was to go
        for name, sink, _ in outputs:
            if sink.block and not sink.topic.has_room():
                await self._wait_for(name, sink.topic)
        pending = _Pending(record, len(outputs))
        for _, sink, rows in outputs:
            sink.tally.sent(len(rows))
            self._send(sink.topic, rows, pending)
        self._handing.set()
        if not outputs:
            record.settle_all()

    def swap(self, rules: RuleSet, sinks: dict[str, Target]) -> None:
        """Go on with other rules and sinks, from the next batch on."""
        self.rules.stop()
        rules.start()
        self.rules, self.sinks = rules, sinks

    async def handed_over(self) -> None:
        """Wait until nothing is in hand that was made before a swap."""
        await self._handing.wait()

    def owes(self, topic: Topic) -> bool:
        """Is there something that this topic refused and is to get again?"""
        return any(owed is topic for owed, _, _ in self._failed)

    def _send(self, topic: Topic, rows: Sequence[Event], pending: _Pending) -> None:
        def sent(future: asyncio.Future[None]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                pending.one_done()
            else:
                self._log.error("cannot write %s: %s; holding the rules", topic.name, describe(error))
                self._failed.append((topic, rows, pending))

        topic.send(rows).add_done_callback(sent)

    async def keep_time(self) -> None:
        """Without end: let the rules' transforms tell what is due."""
        while True:
            await asyncio.sleep(TICK)
            await self._make_up()
            for rule in self.rules.rules.values():
                for n, transform in rule.timed:
                    self._due(rule, n, transform)

    def _due(self, rule: Rule, n: int, transform: Transform[Any]) -> None:
        targets = [self.sinks[name] for name in rule.sinks]
        if self._failed or any(target.block and not target.topic.has_room() for target in targets):
            return  # it stays due
        try:
            events = transform.due(now_ms())
        except Exception as exc:  # noqa: BLE001 - a transform may raise anything; it is asked again
            self._log.error("rule %s: what is due is not known: %s", rule.name, describe(exc))
            rule.status.error(describe(exc))
            return
        if not events:
            return
        rows = [event for _, event in rule.process(events, n + 1)]
        if not rows or not targets:  # nothing came of it, or all its sinks are disabled
            transform.taken(events)
            return
        pending = _Pending(_Due(transform, events), len(targets))
        for target in targets:
            target.tally.sent(len(rows))
            self._send(target.topic, rows, pending)

    async def _make_up(self) -> None:
        """Send again what the stream refused (a full disk, say) before anything new."""
        pause = 0.1
        while self._failed:
            failed, self._failed = self._failed, []
            self._block("stream")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
            for topic, rows, pending in failed:
                self._send(topic, rows, pending)
            await asyncio.sleep(0.05)
        if self.blocked_by == "stream":
            self._unblock()

    async def _wait_for(self, name: str, topic: Topic) -> None:
        self._log.warning("sink %s has no room: the rules and the sources wait for it", name)
        self._block(name)
        await topic.room()
        self._unblock()
        self._log.info("sink %s has room again", name)

    def _block(self, name: str) -> None:
        self.blocked_by = name
        self._free.clear()

    def _unblock(self) -> None:
        self.blocked_by = None
        self._free.set()

    async def free(self) -> None:
        """Wait until no sink blocks."""
        await self._free.wait()


class _Due:
    """Events of a transform instead of a record: settled, they are taken."""

    __slots__ = ("_events", "_transform")

    def __init__(self, transform: Transform[Any], events: Sequence[Event]) -> None:
        self._transform = transform
        self._events = events

    def settle_all(self) -> None:
        self._transform.taken(self._events)


class _Pending:
    """Counts the sends of one record; the last one settles it."""

    __slots__ = ("left", "record")

    def __init__(self, record: Record | _Due, left: int) -> None:
        self.record = record
        self.left = left

    def one_done(self) -> None:
        self.left -= 1
        if not self.left:
            self.record.settle_all()


class SourcePump:
    """Drives one source: reads, filters what no rule wants, appends, acknowledges."""

    def __init__(self, source: Source[Any], topic: Topic, stage: RuleStage, max_event_bytes: int) -> None:
        self.source = source
        self.name = source.ctx.name
        self.status = source.ctx.status
        self.metrics = source.ctx.metrics
        self.log = source.ctx.log
        self._quiet = Quiet(source.ctx.log)
        self.filters = source.ctx.filters  # as they are now
        self._topic = topic
        self._stage = stage
        self._max = max_event_bytes
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"source {self.name}")

    async def stop_reading(self) -> None:
        """Take nothing more in; what was taken still goes on and is acknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until everything read is acknowledged."""
        await self._idle.wait()

    async def leave(self, drain: float) -> None:
        """Stop reading, wait ``drain`` seconds for what is under way, close."""
        await self.stop_reading()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settled(), drain)
        if self.status.state != "stopped":
            await close(self.source)

    async def _run(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST
        while True:
            await open_until_up(self.source)
            opened = loop.time()
            try:
                await self._read()
            except EndOfInput:
                await self.settled()
                await close(self.source)
                self.status.set("stopped", "end of input")
                self.log.info("end of input")
                return
            except NotConnected as exc:
                self._lost(exc)
            except Exception as exc:
                self.log.exception("read failed; opening again")
                self._lost(exc)
            if loop.time() - opened > LONGEST:
                pause = FIRST
            await asyncio.sleep(pause)  # one that opens and cannot be read would keep us busy
            pause = min(pause * 2, LONGEST)

    def _lost(self, error: Exception) -> None:
        reason = describe(error)
        self.status.error(reason)
        self.status.set("connecting", reason)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        topic, stage = self._topic, self._stage
        last = 0.0
        while True:
            if stage.blocked_by is not None:
                await stage.free()
            if not topic.has_room():
                await topic.room()
            events, ack = await self.source.read()
            self._append(events, ack)
            now = loop.time()
            if stage.behind() or topic.unsettled_bytes > BEHIND:
                await self._yield_to_delivery(now + len(events) * PATIENCE)
            elif len(events) < FEW and now - last < FOLLOWING:
                # they follow each other: a millisecond more per batch, and half the batches
                await asyncio.sleep(LINGER)
            last = now

    async def _yield_to_delivery(self, deadline: float) -> None:
        """One thread does it all: while delivery flows, what would only be written to wait and be read back waits
        at the sender instead."""
        loop, topic, stage = asyncio.get_running_loop(), self._topic, self._stage
        while loop.time() < deadline:
            await asyncio.sleep(LINGER)
            if not stage.behind() and topic.unsettled_bytes <= BEHIND:
                return

    def _append(self, events: Sequence[Event], ack: Ack) -> None:
        counters = self.metrics.counters
        name, limit = self.name, self._max
        large = []
        for event in events:
            event.source = name
            payload = event.columns.get("payload")
            if (payload.__class__ is str or payload.__class__ is bytes) and len(payload) > limit:
                large.append(event)
        kept = self._stage.rules.chosen(events, name)
        self._reject("no_rule", len(events) - len(kept))
        if large:
            kept = self._refuse(large, kept)
        if self._stage.taps.looking:
            self._stage.taps.see(f"source:{name}", events)
        counters["received"] += len(events)
        if not kept:
            self._ack(ack, None)
            return
        counters["pending"] += len(kept)
        self._idle.clear()
        tracer = self._stage.taps.tracer
        spans = tracer.received(name, kept) if tracer else ()
        future = self._topic.send(kept)
        future.add_done_callback(lambda f: self._sent(f, len(kept), ack))
        if tracer and spans:
            future.add_done_callback(partial(tracer.appended, spans))

    def _refuse(self, large: Sequence[Event], kept: Sequence[Event]) -> Sequence[Event]:
        refused = [event for event in large if event in kept]
        self._reject("too_large", len(refused))
        for event in refused:
            self._quiet.warning("too_large", f"event {event.id} is larger than {self._max} bytes: rejected")
        return [event for event in kept if event not in refused]

    def _reject(self, reason: str, n: int) -> None:
        if n:
            self.metrics.counters["rejected"] += n
            self.metrics.add(f"rejected.{reason}", n)

    def _sent(self, future: asyncio.Future[None], n: int, ack: Ack) -> None:
        counters = self.metrics.counters
        counters["pending"] -= n
        if not counters["pending"]:
            self._idle.set()
        error: BaseException | None = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            counters["appended"] += n
            self._ack(ack, None)
            return
        self._reject("stream", n)
        reason = describe(error)
        self.status.error(reason)
        self._quiet.warning("stream", f"not taken in: {reason}; the sender was not acknowledged")
        self._ack(ack, error if isinstance(error, Exception) else RuntimeError(reason))

    def _ack(self, ack: Callable[[Exception | None], None], error: Exception | None) -> None:
        try:
            ack(error)
        except Exception:
            self.log.exception("the source's acknowledgement failed")

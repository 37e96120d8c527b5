"""One sink's side of the engine: takes its records off the stream, keeps lanes, retries, settles, counts.

Whatever the sink is, an event read from ``sink.<name>`` ends in exactly one of: success, failed (dead letter, other
sink or dropped by request), dropped.*, late_reply; or it stays in the stream for the next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from headrace.components import Receipt, Sink
from headrace.config.model import SinkSpec
from headrace.engine.dead_letters import Outlet
from headrace.engine.flow import Flow
from headrace.engine.handing import HandOver
from headrace.engine.journal import Journal
from headrace.engine.opening import open_until_up
from headrace.engine.retry import Failure, RetryPolicy
from headrace.engine.tally import RuleTally, SinkTally
from headrace.engine.taps import Taps
from headrace.errors import DeliveryError, NotConnected
from headrace.events import Event, now_ms
from headrace.lanes import RETRYING, SETTLED, WRITING, Ahead, Item, Lanes, Taken
from headrace.metrics import Metrics
from headrace.stream import Record
from headrace.templates import Template

__all__ = ["SinkRunner"]


class SinkRunner:
    """Drives one sink."""

    def __init__(
        self,
        spec: SinkSpec,
        sink: Sink[Any],
        tally: SinkTally,
        rules: Mapping[str, RuleTally],
        outlet: Outlet,
        taps: Taps | None = None,
    ) -> None:
        options = spec.options
        self.name = spec.name
        self.sink = sink
        self.tally = tally
        self.status = sink.ctx.status
        self.log = sink.ctx.log
        self._rules = rules
        self._handing = HandOver(outlet, self.log, self._given_up)
        self._taps = taps if taps is not None else Taps()
        self._options = options
        self._policy = RetryPolicy(options.retry)
        self._flow = Flow(options)
        self.journal = Journal()
        self._lanes = Lanes(options.order == "key")
        self._key = Template(options.key) if options.key else None
        self._ttl = int(options.ttl * 1000) if options.ttl else 0
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._ending = False
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing = 0  # events inside write() now
        self._ahead = Ahead()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delivered: list[Item] = []  # in this turn of the loop
        self._successes = 0
        if self._ttl:
            self._loop.call_later(0.1, self._sweep)

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the sink in the background; events wait until it is up."""
        self._spawn(self._bring_up())

    async def _bring_up(self) -> None:
        await open_until_up(self.sink)
        self._open = True
        self._schedule()

    def flowing(self) -> bool:
        """Is the sink up, and its peer too as far as is known?"""
        return self._open and not self._flow.broken

    def flow(self) -> dict[str, Any]:
        """The circuit and the window, for the status."""
        return self._flow.snapshot(self._loop.time())

    async def stop(self, drain: float = 0.0) -> None:
        """End all attempts, after ``drain`` seconds at most; what is unsettled stays in the stream."""
        self._ending, self._ttl = True, 0
        deadline = self._loop.time() + drain
        while (self._writing or self._handing.waiting) and self._loop.time() < deadline:  # noqa: ASYNC110 - rare and short
            await asyncio.sleep(0.005)
        if self._timer:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._settle_delivered()

    def retire(self) -> None:
        """After ``stop``, another takes over what is unsettled: what is said of it here counts no more."""
        self.tally.requeued()
        self.tally, self._rules = SinkTally(Metrics()), {}

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- in: from the stream -------------------------------------------------------------------------------------

    async def handle(self, record: Record) -> None:
        """Take one record of the stream. Waits while too much is unsettled already."""
        await self._ahead.room()
        taken = Taken(record, record.size, self._loop.time())
        items, add, name = taken.items, self._lanes.add, self.name
        already, key_of = record.settled, self._key
        for index, event in enumerate(record.events):
            if already and index in already:
                continue
            if event.sink or event.trace:  # other sinks have the same object; attempts, delivery id, trace are ours
                error, event = event.error, event.output(event.columns, event.rule, event.index)
                event.error = error
            event.sink = name
            item = Item(event, taken, index, event.key if key_of is None else self._key_by(key_of, event))
            items.append(item)
            add(item)
        if self._taps.looking:
            self._taps.see(f"sink:{name}", [item.event for item in items])
        self.tally.arrived([item.event for item in items], self._rules)
        taken.left = len(items)
        if not items:
            return
        self._ahead.add(taken)
        self._schedule()

    def _key_by(self, template: Template, event: Event) -> str:
        try:
            return template.render(event)
        except Exception:  # noqa: BLE001 - a key that cannot be made must not lose the event
            return event.key

    # -- out: to the sink ----------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        self._settle_delivered()
        if not self._open or self._ending:
            return
        room, wait = self._flow.room(self._writing, self._loop.time())
        if wait and self._lanes.ready:
            self._wake_in(wait)
        if room <= 0 or not self._lanes.ready:
            return
        self._send(room)

    def _send(self, room: int) -> None:
        if items := self._begin(self._lanes.take(room)):
            self._transmit(items)

    def _transmit(self, items: list[Item]) -> None:
        self._spawn(self._write(items))

    def _look_behind(self, head: Item, failure: Failure) -> bool:
        """Nothing succeeds, and this head has failed often: is the peer out, or is it the head that is to blame?

        The event behind it is tried in its place, at once. If that is delivered, the head is given up, and the order
        is kept; else they wait together.
        """
        if failure.network or failure.later or head.tries < self._options.retry.max_attempts:
            return False
        followers = self._lanes.followers(head, 1)
        if not followers:
            return False
        head.state = WRITING  # neither waiting nor tried: nobody else touches it
        followers[0].passes = head
        self._mark(followers)
        self._transmit(followers)
        return True

    def _begin(self, items: list[Item]) -> list[Item]:
        """Begin an attempt of each; those too old are dropped instead."""
        if self._ttl:
            oldest = now_ms() - self._ttl
            for item in items:
                if item.given_at < oldest:
                    self._drop(item, "expired")
            items = [item for item in items if item.state == WRITING]
        self._mark(items)
        return items

    def _mark(self, items: list[Item]) -> None:
        successes, fresh = self._successes, 0
        for item in items:
            if not item.tries:
                item.first = successes
                fresh += 1
            item.mark = successes
            item.tries += 1
            item.event.attempt = item.tries
        self.tally.begun(len(items), fresh)
        self._writing += len(items)
        self._flow.spend(len(items))

    async def _write(self, items: list[Item]) -> None:
        settled = bytearray(len(items))  # of this call: an item may be in another one before this one returns
        began = time.perf_counter()
        traced = self._taps.attempts(self.name, items)

        def done(index: int, error: Exception | None, receipt: Receipt | None = None) -> None:
            if settled[index]:
                self.log.warning("the sink settled event %s twice; only the first counts", items[index].event.id)
                return
            settled[index] = 1
            if not index:  # one is measured for all that began with it: counting must cost an event next to nothing
                self._measure(items[0], began, len(items), error, receipt)
            if traced is not None:
                traced.ended(index, error, receipt)
            if error is None:
                self._delivered.append(items[index])
                self._schedule()
            else:
                self._settle_failed(items[index], error, began)

        outcome: Exception | None = None
        try:
            await self.sink.write([item.event for item in items], done)
        except Exception as exc:  # noqa: BLE001 - a sink may raise anything
            outcome = exc
        for index in range(len(items)):
            if not settled[index]:
                done(index, outcome)

    def _measure(
        self, item: Item, began: float, n: int, error: Exception | None, receipt: Receipt | None = None
    ) -> None:
        seconds = time.perf_counter() - began
        self.tally.measured(item.event, seconds, n, delivered=error is None)
        if error is None:
            self.journal.delivered(item, seconds, receipt)

    # -- settling ------------------------------------------------------------------------------------------------

    def _settle_delivered(self) -> None:
        """Many at once: what is done here for each event costs as much as sending it."""
        items, self._delivered = self._delivered, []
        if items:
            self._succeeded(items)

    def _succeeded(self, items: list[Item], release: bool = True) -> None:
        """Settle these. ``release`` False: they came along with the heads of their lanes."""
        self._writing -= len(items)
        self._successes += len(items)
        if self._flow.hindered:
            for _ in items:
                if self._flow.succeeded() and self.status.set("running"):
                    self.log.info("the peer is back")
        if self._ttl:
            oldest = now_ms() - self._ttl
            late = [item.event for item in items if item.given_at < oldest]
            self.tally.delivered(late, self._rules, late=True)
            self.tally.delivered([item.event for item in items if item.given_at >= oldest], self._rules)
        else:
            self.tally.delivered([item.event for item in items], self._rules)
        for item in items:
            item.state = SETTLED
            if item.passes is not None:  # it was delivered in the place of its head, so that is to blame
                head, item.passes = item.passes, None
                assert head.last is not None
                self._give_up(head, *head.last)
            elif release:
                self._lanes.release(item)
        self._ahead.settled(items)

    def _settle_failed(self, item: Item, error: Exception, began: float) -> None:
        self._settle_delivered()  # whether others succeed says whose fault it is
        self._writing -= 1
        self._failed(item, self._erred(item, error, began), error)
        self._schedule()

    def _erred(self, item: Item, error: Exception, began: float) -> Failure:
        """An attempt failed: count it, whatever becomes of its event."""
        failure = self._policy.classify(error)
        self.tally.erred(failure.what)
        self.journal.failed(item, failure, error, time.perf_counter() - began)
        return failure

    def _failed(self, item: Item, failure: Failure, error: Exception) -> None:
        status, said = (error.status, error.answer) if isinstance(error, DeliveryError) else (None, b"")
        self.status.error(failure.reason, status=status, said=said)
        if failure.wait:
            self._flow.asked(failure.wait, self._loop.time())
        if isinstance(error, NotConnected) and self._open:
            self._open = False
            self._spawn(self._bring_up())
        if item.passes is not None:
            head, item.passes = item.passes, None
            self._lanes.put_back([item])
            self._lanes.again(head)
            self._outage(failure)
            return
        if not failure.again:
            self._give_up(item, failure, error)
            return
        item.last = (failure, error)
        if failure.network or failure.later:
            its_own = self._successes > item.mark
        else:
            its_own = self._successes > item.first and not self._flow.broken
        if not its_own:
            if not self._look_behind(item, failure):
                self._outage(failure)
                self._lanes.again(item)
            return
        if failure.later:
            self._flow.later(item.mark, self._successes)
        else:
            item.failures += 1
            if item.failures >= self._options.retry.max_attempts:
                self._give_up(item, failure, error)
                return
        item.state = RETRYING
        self._loop.call_later(self._policy.delay(item.tries), self._due, item)

    def _due(self, item: Item) -> None:
        if item.state == RETRYING:
            self._lanes.again(item)
            self._schedule()

    def _outage(self, failure: Failure) -> None:
        if self._flow.failed(failure.later, self._loop.time()):
            self.log.warning("the peer is out, waiting: %s", failure.reason)
        self.status.set("degraded", failure.reason)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._schedule)

    def _give_up(self, item: Item, failure: Failure, error: Exception) -> None:
        """The event goes to the outlet; its lane goes on when it is safe there, or a restart could change the order."""
        item.state = SETTLED
        self._handing.give(item, failure, error)

    def _given_up(self, item: Item, failure: Failure) -> None:
        self._taps.gave_up(self.name, item.event, "failed", failure.reason)
        self.tally.failed(item.event, item.tries, failure, self._rules)
        self._lanes.release(item)
        self._ahead.settled([item])
        self._schedule()

    # -- dropping ------------------------------------------------------------------------------------------------

    def _drop(self, item: Item, reason: str) -> None:
        """Settle an item without an attempt. One that waits in a lane is skipped when its turn comes."""
        out_of_lanes = item.state in (WRITING, RETRYING)
        item.state = SETTLED
        if out_of_lanes:
            self._lanes.release(item)
        self._taps.gave_up(self.name, item.event, "dropped", reason)
        self.tally.dropped(item.event, item.tries, reason, self._rules)
        self._ahead.settled([item])

    def _sweep(self) -> None:
        """Drop what became too old while it waited."""
        if not self._ttl:
            return
        oldest = now_ms() - self._ttl
        for taken in list(self._ahead.window):
            for item in taken.items:
                if item.state not in (WRITING, SETTLED) and item.given_at < oldest:
                    self._drop(item, "expired")
        self._schedule()
        self._loop.call_later(min(0.25, self._ttl / 4000), self._sweep)

    def drop_oldest(self, size: int) -> None:
        """Settle the oldest waiting events, about ``size`` bytes of them, as dropped.queue_full."""
        for taken in list(self._ahead.window):
            each = taken.size // max(1, len(taken.items))
            for item in taken.items:
                if size <= 0:
                    return
                if item.state not in (WRITING, SETTLED):
                    self._drop(item, "queue_full")
                    size -= each

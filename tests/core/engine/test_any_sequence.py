"""Any sequence of events, answers, pauses and restarts: nothing is lost, keys stay in order, each settles once.

The loop's clock is virtual: it jumps to the next timer, so pauses cost nothing and every run is the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from headrace.components import ComponentConfig, Done, Form, JoiningSink, Piece, Sink
from headrace.config.model import SinkOptions, SinkSpec
from headrace.engine.delivery import SinkRunner
from headrace.engine.joined import JoinedRunner
from headrace.engine.retry import Failure
from headrace.engine.tally import RuleTally, SinkTally
from headrace.errors import Backoff, DeliveryError, NotConnected
from headrace.events import Batch, Event
from headrace.lanes import Item
from headrace.testing.context import make_context


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when nothing else is to be done."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # asyncio's own, the same in 3.11 to 3.13
            due = self._scheduled[0]._when  # type: ignore[attr-defined]
            self._now = max(self._now + 1e-6, due)  # it moves, as clocks do, even if rounding says that it is time
        super()._run_once()  # type: ignore[misc]


def status(code: int) -> DeliveryError:
    return DeliveryError(str(code), kind="status", status=code)


WEATHER: dict[str, Any] = {
    "fair": lambda: None,
    "refused": lambda: DeliveryError("refused", kind="network"),
    "busy": lambda: status(503),
    "broken": lambda: status(500),
    "strict": lambda: status(400),
    "slow": lambda: TimeoutError("no answer"),
    "asks": lambda: Backoff(0.05),
}
LATER = {"busy", "asks"}
ATTEMPTS = 3


class Record:
    """A record as one life of the runner has it. What is settled is settled for the lives to come."""

    size = 100

    def __init__(self, events: Sequence[Event], done: set[int]) -> None:
        self.events = events
        self.settled = frozenset(done)
        self.closed = False
        self._done = done

    def settle(self, *indexes: int) -> None:
        for index in indexes if not self.closed else ():
            assert index not in self._done, "settled twice"
            self._done.add(index)


class World:
    """What is beyond the runner: the log, the peer and the dead letters."""

    def __init__(self) -> None:
        self.log: list[tuple[list[Event], set[int]]] = []
        self.weather = "fair"
        self.hanging = False
        self.gate = asyncio.Event()
        self.raises: Exception | None = None
        self.poison: set[str] = set()
        self.inside: list[Event] = []
        self.delivered: list[Event] = []
        self.letters: list[Event] = []
        self.causes: dict[str, set[str]] = {}
        self.outlet_fails = 0

    def enter(self, batch: Batch) -> None:
        keys = {event.key for event in self.inside}
        assert not keys & {event.key for event in batch}, "two unsettled events of one key inside write"
        self.inside += batch

    def leave(self, batch: Batch) -> None:
        self.inside = [event for event in self.inside if not any(event is other for other in batch)]

    async def answer(self, event: Event) -> Exception | None:
        weather = "broken" if event.id in self.poison else self.weather
        if self.hanging:
            await self.gate.wait()
        error: Exception | None = WEATHER[weather]()
        if error is not None:
            self.causes.setdefault(event.id, set()).add(weather)
        return error

    def outlet(self, item: Item, failure: Failure, error: Exception) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.outlet_fails:
            self.outlet_fails -= 1
            future.set_exception(OSError("the disk is full"))
        else:
            self.letters.append(item.event)
            future.set_result(None)
        return future


class Peer(Sink[ComponentConfig]):
    """Answers as the weather is, event by event or for a whole request."""

    name = "peer"
    world: World

    async def write(self, batch: Batch, done: Done) -> None:
        self._begin(batch)
        try:
            await asyncio.gather(*(self._one(i, event, done) for i, event in enumerate(batch)))
        finally:
            self.world.leave(batch)

    def _begin(self, batch: Batch) -> None:
        raises, self.world.raises = self.world.raises, None
        if raises is not None:
            for event in batch:
                self.world.causes.setdefault(event.id, set()).add("raises")
            raise raises
        self.world.enter(batch)

    async def _one(self, i: int, event: Event, done: Done) -> None:
        error = await self.world.answer(event)
        if error is None:
            self.world.delivered.append(event)
        self.world.leave([event])
        done(i, error)


class JoiningPeer(Peer, JoiningSink[ComponentConfig]):
    """Takes several events in one request, but not every third together with the others."""

    def piece(self, event: Event, form: Form) -> Piece:
        return Piece(event["n"] % 3 == 0, b"0123456789")

    async def write_joined(self, batch: Batch, pieces: Sequence[bytes], common: Any, form: Form) -> None:
        assert len({id(event) for event in batch}) == len(batch) == len(pieces) <= 3, "not one request's worth"
        assert {event["n"] % 3 == 0 for event in batch} == {common}
        self._begin(batch)
        try:
            for error in [await self.world.answer(event) for event in batch]:
                if error is not None:
                    raise error
            self.world.delivered += batch
        finally:
            self.world.leave(batch)


class Deliveries(RuleBasedStateMachine):
    """One sink's runner, over several lives."""

    options: dict[str, Any] = {}  # noqa: RUF012 - set by the subclasses

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.world = World()
        self.numbers: Counter[str] = Counter()
        self.passed: set[str] = set()
        self.stops = 0
        self.run(self.start())

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    async def start(self) -> None:
        joined = "batch" in self.options
        ctx = make_context("out")
        sink = (JoiningPeer if joined else Peer)(ComponentConfig(), ctx)
        sink.world = self.world
        retry = {"initial": "10ms", "max": "40ms", "max_attempts": ATTEMPTS}
        spec = SinkSpec("out", Peer, sink.config, SinkOptions(retry=retry, **self.options))  # type: ignore[arg-type]
        self.tally, self.rules_tally = SinkTally(ctx.metrics), {"r": RuleTally()}
        kind = JoinedRunner if joined else SinkRunner
        self.runner = kind(spec, sink, self.tally, self.rules_tally, self.world.outlet)
        self.runner.start()
        left = [(events, done) for events, done in self.world.log if len(done) < len(events)]
        self.tally.recovered(sum(len(events) - len(done) for events, done in left))
        self.records = [Record(events, done) for events, done in left]
        for record in self.records:
            await self.runner.handle(record)  # type: ignore[arg-type]  # it is used as a Record is

    # -- what happens ------------------------------------------------------------------------------------------

    @rule(keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), poison=st.integers(0, 11))
    def events_come(self, keys: list[str], poison: int) -> None:
        self.run(self._events_come(keys, poison))

    async def _events_come(self, keys: list[str], poison: int) -> None:
        events = []
        for i, key in enumerate(keys):
            self.numbers[key] += 1
            event = Event({"n": self.numbers[key]}, id=f"{key}{self.numbers[key]}", key=key, rule="r")
            if i == poison:
                self.world.poison.add(event.id)
            events.append(event)
        self.world.log.append((events, set()))
        self.tally.sent(len(events))
        self.records.append(Record(events, self.world.log[-1][1]))
        await self.runner.handle(self.records[-1])  # type: ignore[arg-type]

    @rule(weather=st.sampled_from([*WEATHER]))
    def weather_turns(self, weather: str) -> None:
        self.world.weather = weather

    @rule(error=st.sampled_from([RuntimeError("a bug"), NotConnected("gone"), OSError("broken pipe")]))
    def write_raises(self, error: Exception) -> None:
        self.world.raises = error

    @rule()
    def answers_hang(self) -> None:
        self.world.hanging = True

    @rule()
    def answers_come_late(self) -> None:
        self.world.hanging = False
        gate, self.world.gate = self.world.gate, asyncio.Event()
        gate.set()

    @rule(ms=st.sampled_from([0, 1, 10, 60, 500]))
    def time_passes(self, ms: int) -> None:
        self.run(asyncio.sleep(ms / 1000))

    @rule()
    def the_letters_cannot_be_kept(self) -> None:
        self.world.outlet_fails = 1

    @rule()
    def the_process_ends_and_begins_again(self) -> None:
        self.stops += 1
        self.run(self._again())

    async def _again(self) -> None:
        newest = Counter[str]()
        for event in self.world.delivered:
            newest[event.key] = max(newest[event.key], event["n"])
        for taken in self.runner._ahead.window:
            tried = {
                item.event.id for item in taken.items if item.tries >= ATTEMPTS and item.event["n"] < newest[item.key]
            }
            self.passed |= tried
        await self.runner.stop()
        for record in self.records:
            record.closed = True
        self.world.inside.clear()
        await self.start()

    # -- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def every_event_is_counted_somewhere(self) -> None:
        c = self.tally.metrics.snapshot()
        ends = c["success"] + c["failed"] + c["dropped"] + c["late_reply"]
        assert c["matched"] + c["recovered"] == ends + c["queuing"] + c["inflight"]
        assert min(c["queuing"], c["inflight"]) >= 0
        assert c["attempts"] == c["success"] + c["late_reply"] + c["errors"] + self.runner._writing
        assert c["retried"] == c["retried.success"] + c["retried.failed"]

    @invariant()
    def every_key_is_in_order(self) -> None:
        """But for who was passed, to see who is to blame, and the process ended before it was a letter."""
        newest: Counter[str] = Counter()
        seen: set[str] = set()
        for event in self.world.delivered:
            if event.id not in seen | self.passed:
                assert event["n"] > newest[event.key], f"{event.id} came after a later one"
                newest[event.key] = event["n"]
                seen.add(event.id)

    @invariant()
    def nobody_is_given_up_for_being_put_off(self) -> None:
        for event in self.world.letters:
            assert self.world.causes[event.id] - LATER, f"{event.id} was only put off"

    def teardown(self) -> None:
        """The peer is well again: what was not given up arrives."""
        self.world.weather = "fair"
        self.answers_come_late()
        self.run(self._settled())
        self.every_event_is_counted_somewhere()
        self.every_key_is_in_order()
        ended = Counter(event.id for event in (*self.world.delivered, *self.world.letters))
        everybody = [event for events, _ in self.world.log for event in events]
        assert all(ended[event.id] for event in everybody), "lost"
        if not self.stops:
            assert set(ended.values()) <= {1}, "ended twice without a restart"
        self.run(self.runner.stop())
        self.loop.close()

    async def _settled(self) -> None:
        """Others arrive meanwhile: who is poison shows only beside them."""
        others = list(self.world.log)
        async with asyncio.timeout(600):  # of the virtual clock
            while any(len(done) < len(events) for events, done in others):
                await self._events_come(["z"], poison=-1)
                await asyncio.sleep(0.1)
                self.every_event_is_counted_somewhere()
            while any(len(done) < len(events) for events, done in self.world.log):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "options",
    [{}, {"inflight": 2}, {"order": "key", "rate": "100/s"}, {"batch": {"size": 4, "every": "5ms", "bytes": "34B"}}],
    ids=["default", "narrow", "rate", "joined"],
)
def test_any_sequence(options: dict[str, Any]) -> None:
    machine = type("Machine", (Deliveries,), {"options": options})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

"""A sink runner on a hand-made stream: records in, settled indices out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from headrace.config.model import SinkOptions, SinkSpec
from headrace.engine.delivery import SinkRunner
from headrace.engine.joined import JoinedRunner
from headrace.engine.retry import Failure
from headrace.engine.tally import RuleTally, SinkTally
from headrace.events import Event
from headrace.lanes import Item
from headrace.testing.context import make_context
from headrace.testing.doubles import Recorder, RecordingSink


class HandRecord:
    """A record of the stream, held in the hand."""

    def __init__(self, events: Sequence[Event], settled: Sequence[int] = ()) -> None:
        self.events = events
        self.settled = frozenset(settled)
        self.size = 100 * len(events)
        self.done: list[int] = []

    def settle(self, *indexes: int) -> None:
        for index in indexes:
            assert index not in self.done, "settled twice"
            assert index not in self.settled
            self.done.append(index)

    def settle_all(self) -> None:
        for i in range(len(self.events)):
            self.settle(i)

    @property
    def whole(self) -> bool:
        return len(self.done) + len(self.settled) == len(self.events)


class Bench:
    """A runner, its recorder, its counters, and what it gave up."""

    def __init__(self, recorder: Recorder, sink_class: type[RecordingSink] = RecordingSink, **options: Any) -> None:
        self.recorder = recorder
        ctx = make_context("out")
        sink = sink_class(RecordingSink.Config(recorder=recorder), ctx)
        spec = SinkSpec("out", RecordingSink, sink.config, SinkOptions(**options))
        self.tally = SinkTally(ctx.metrics)
        self.rules = {"r": RuleTally()}
        self.given_up: list[tuple[Event, Failure]] = []
        self.safe: asyncio.Future[None] | None = None
        """When what is given up is safe; None: at once."""
        kind = JoinedRunner if spec.options.batch.size > 1 else SinkRunner
        self.runner = kind(spec, sink, self.tally, self.rules, self._outlet)
        self.records: list[HandRecord] = []
        self.runner.start()

    def _outlet(self, item: Item, failure: Failure, error: Exception) -> asyncio.Future[None] | None:
        self.given_up.append((item.event, failure))
        return self.safe

    async def give(
        self, *keys: str, settled: Sequence[int] = (), timestamp: int = 0, change: Mapping[int, Any] | None = None
    ) -> HandRecord:
        """A record of events of these keys. ``change``: more columns of the n-th."""
        events = [
            Event({"n": n, "key": key, **(change or {}).get(n, {})}, key=key, rule="r", timestamp=timestamp)
            for n, key in enumerate(keys)
        ]
        record = HandRecord(events, settled)
        self.records.append(record)
        self.tally.sent(len(events) - len(settled))
        await self.runner.handle(record)  # type: ignore[arg-type]  # it is used as a Record is
        self.check()
        return record

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self.check()
                await asyncio.sleep(0.002)
        self.check()

    async def all_settled(self, timeout: float = 10.0) -> None:
        await self.until(lambda: all(record.whole for record in self.records), timeout)

    def check(self) -> None:
        """The conservation law of a sink, and of its rules' actions."""
        c = self.counters
        dropped = sum(n for name, n in c.items() if name.startswith("dropped."))
        assert c["dropped"] == dropped
        assert c["matched"] + c["recovered"] == (
            c["success"] + c["failed"] + dropped + c["late_reply"] + c["queuing"] + c["inflight"]
        )
        assert c["errors"] == sum(n for name, n in c.items() if name.startswith("errors."))
        assert c["attempts"] == c["success"] + c["late_reply"] + c["errors"] + self.runner._writing
        assert c["retried"] == c["retried.success"] + c["retried.failed"]
        assert c["retried.success"] <= c["success"]
        assert c["retried.failed"] <= c["failed"]
        assert c["queuing"] >= 0
        assert c["inflight"] >= 0

    @property
    def counters(self) -> dict[str, int | float]:
        return self.tally.metrics.snapshot()


MakeBench = Callable[..., Bench]


@pytest.fixture
async def bench() -> AsyncIterator[MakeBench]:
    made: list[Bench] = []

    def make(recorder: Recorder, **options: Any) -> Bench:
        made.append(Bench(recorder, **options))
        return made[-1]

    yield make
    for one in made:
        one.recorder.release()
        await one.runner.stop()

"""Events that a transform brings about by time: delivered in order, and held back while there is no room."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import ModuleType
from typing import ClassVar

import pytest

from headrace import Batch, ComponentConfig, Done, Event, Inputs, Output, Sink, Transform, hookimpl
from headrace.engine import intake
from headrace.testing.pipelines import run_pipeline

CONFIG = """
name: test
rules:
  clock: {clock: {}, to: out}
sinks:
  out: {type: gate, buffer: {max_bytes: 4KB}}
stream: {url: "embedded://memory"}
"""


class Clock(Transform[ComponentConfig]):
    """One event each time it is asked."""

    name = "clock"
    made: ClassVar[list[Event]] = []
    got: ClassVar[list[Event]] = []
    broken: ClassVar[bool] = False

    def inputs(self) -> Inputs:
        return Inputs(("never",))

    def process(self, batch: Batch) -> Output:
        return Output((), range(len(batch)))

    def due(self, now: int) -> Sequence[Event]:
        if Clock.broken:
            raise RuntimeError("no time")
        self.made.append(Event({"n": len(self.made), "pad": "x" * 500}, key="k"))
        return [self.made[-1]]

    def taken(self, events: Sequence[Event]) -> None:
        self.got.extend(events)


class Gate(Sink[ComponentConfig]):
    """Lets nothing through until it is open."""

    name = "gate"
    is_open: ClassVar[asyncio.Event]
    seen: ClassVar[list[int]] = []

    async def write(self, batch: Batch, done: Done) -> None:
        await self.is_open.wait()
        self.seen.extend(event["n"] for event in batch)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(intake, "TICK", 0.001)
    Clock.made, Clock.got, Clock.broken, Gate.seen, Gate.is_open = [], [], False, [], asyncio.Event()
    module = ModuleType("clock_and_gate")

    @hookimpl
    def register_transforms() -> list[type[Clock]]:
        return [Clock]

    @hookimpl
    def register_sinks() -> list[type[Gate]]:
        return [Gate]

    vars(module).update(register_transforms=register_transforms, register_sinks=register_sinks)
    return module


async def test_what_is_due_waits_for_room_and_arrives_in_order(plugin: ModuleType) -> None:
    async with run_pipeline(CONFIG, plugins=[plugin]) as running:
        await running.until(lambda s: s["stream"]["topics"]["sink.out"]["bytes"] >= 4096)
        made = len(Clock.made)
        await asyncio.sleep(0.02)
        assert len(Clock.made) == made < 12, "nothing is asked for while there is no room"
        Gate.is_open.set()
        status = await running.until(lambda s: s["sinks"]["out"]["counters"]["success"] > 20)
        assert Gate.seen == list(range(len(Gate.seen)))
        assert [event["n"] for event in Clock.got][: len(Gate.seen)] == Gate.seen
    assert status["rules"]["clock"]["counters"]["passed"] >= 20


async def test_a_transform_that_does_not_know_is_said_and_asked_again(plugin: ModuleType) -> None:
    Clock.broken = True
    Gate.is_open.set()
    async with run_pipeline(CONFIG, plugins=[plugin]) as running:
        await running.until(lambda s: "no time" in (s["rules"]["clock"]["last_error"] or ""))
        Clock.broken = False
        await running.until(lambda s: s["sinks"]["out"]["counters"]["success"] > 2)

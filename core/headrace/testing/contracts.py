"""What every component must do, as pytest classes to subclass.

    class TestLoud(SinkContract):
        @pytest.fixture
        def sink(self) -> Loud:
            return Loud(Loud.Config(), make_context())

Each fixture gives a fresh, unopened component whose peer is there; a fixture may be asynchronous. A contract class
opens and closes it. Needs pytest and pytest-asyncio. These are plain classes, no pytest plugin: a plugin would import
headrace before coverage starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import json
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from headrace.components import (
    Component,
    Connector,
    Explanation,
    Guard,
    Inputs,
    Receipt,
    Sink,
    Source,
    TestStep,
    Transform,
)
from headrace.errors import EndOfInput
from headrace.events import Event, encode_event
from headrace.testing.context import make_event
from headrace.testing.leading import PATIENCE, opened, turns, write
from headrace.testing.models import check_class, check_import, check_model, check_offer
from headrace.topics import problem

__all__ = [
    "ComponentContract",
    "ConnectorContract",
    "Produce",
    "SinkContract",
    "SourceContract",
    "TransformContract",
    "opened",
    "write",
]

in_loop = pytest.mark.asyncio  # by hand, so that a plugin's tests need no asyncio_mode


class ComponentContract:
    """What all four kinds have in common. Subclass one of the classes below instead."""

    not_secret: ClassVar[frozenset[str]] = frozenset()
    """Options that look like secrets by their name and are none."""

    @pytest.fixture
    def component(self) -> Component[Any]:
        raise NotImplementedError("subclass SourceContract, TransformContract, SinkContract or ConnectorContract")

    def test_the_registry_takes_the_class(self, component: Component[Any]) -> None:
        check_class(type(component))

    def test_every_option_is_described_checked_and_constant(self, component: Component[Any]) -> None:
        check_model(type(component).Config, self.not_secret)

    def test_importing_the_module_does_no_io(self, component: Component[Any]) -> None:
        check_import(type(component).__module__)

    def test_construction_keeps_what_it_is_given(self, component: Component[Any]) -> None:
        assert isinstance(component.config, type(component).Config)
        assert component.log is component.ctx.log

    @in_loop
    async def test_close_follows_open_and_leaves_no_task(self, component: Component[Any]) -> None:
        before = asyncio.all_tasks()
        async with opened(component):
            pass
        await turns()
        left = [task for task in asyncio.all_tasks() - before if not task.done()]
        assert not left, f"close left tasks behind: {left}"
        gc.collect()  # what was not closed speaks up as a ResourceWarning, which pytest reports

    @in_loop
    async def test_close_works_without_open(self, component: Component[Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            await component.close()

    @in_loop
    async def test_close_works_after_a_cancelled_open(self, component: Component[Any]) -> None:
        opening = asyncio.ensure_future(component.open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening], timeout=PATIENCE)
        assert opening.done(), "open does not end when it is cancelled"
        if not opening.cancelled():
            opening.exception()  # either is fine; not looked at, asyncio would complain
        async with asyncio.timeout(PATIENCE):
            await component.close()


class ConnectorContract(ComponentContract):
    """Fixture: ``connector``."""

    @pytest.fixture
    def connector(self) -> Connector[Any]:
        raise NotImplementedError("give a fixture `connector`")

    @pytest.fixture
    def component(self, connector: Connector[Any]) -> Component[Any]:
        return connector

    @in_loop
    async def test_a_peer_that_is_there_is_healthy(self, connector: Connector[Any]) -> None:
        async with opened(connector), asyncio.timeout(PATIENCE):
            await connector.health()

    @in_loop
    async def test_a_peer_that_is_there_passes_every_step_of_a_test(self, connector: Connector[Any]) -> None:
        async with opened(connector), asyncio.timeout(PATIENCE):
            steps = await connector.test()
        assert steps, "a test has one step at least"
        for step in steps:
            assert isinstance(step, TestStep)
            assert step.ok, step
            json.dumps(step.facts)
        assert len({step.name for step in steps}) == len(steps), "two steps of one name"


Produce = Callable[[], Awaitable[None]]


class SourceContract(ComponentContract):
    """Fixtures: ``source``, and ``produce`` if somebody has to send before there is something to read."""

    @pytest.fixture
    def source(self) -> Source[Any]:
        raise NotImplementedError("give a fixture `source`")

    @pytest.fixture
    def produce(self) -> Produce:
        """An async function that makes the peer send one event more, when the source is open."""

        async def nothing() -> None:
            return

        return nothing

    @pytest.fixture
    def component(self, source: Source[Any]) -> Component[Any]:
        return source

    @in_loop
    async def test_a_batch_holds_whole_events(self, source: Source[Any], produce: Produce) -> None:
        async with opened(source), asyncio.timeout(PATIENCE):
            await produce()
            batch, ack = await source.read()
            assert batch, "read gave an empty batch"
            for event in batch:
                assert isinstance(event, Event)
                assert event.id
                assert isinstance(event.timestamp, int)
                assert event.timestamp > 0
                assert all(isinstance(column, str) for column in event.columns)
                encode_event(event)
            assert len({event.id for event in batch}) == len(batch), "two events of one id"
            check_offer(source, batch)
            ack(None)

    @in_loop
    async def test_an_ack_is_taken_late_and_out_of_order(self, source: Source[Any], produce: Produce) -> None:
        acks = []
        async with opened(source), asyncio.timeout(PATIENCE):
            with contextlib.suppress(EndOfInput):
                for _ in range(2):
                    await produce()
                    acks.append((await source.read())[1])
            for ack in reversed(acks):
                ack(None)
            await turns()

    @in_loop
    async def test_an_ack_is_taken_after_close(self, source: Source[Any], produce: Produce) -> None:
        async with opened(source), asyncio.timeout(PATIENCE):
            await produce()
            _, ack = await source.read()
        ack(RuntimeError("the engine is going down"))
        await turns()

    @in_loop
    async def test_a_refused_batch_does_no_harm(self, source: Source[Any], produce: Produce) -> None:
        async with opened(source), asyncio.timeout(PATIENCE):
            await produce()
            _, ack = await source.read()
            ack(RuntimeError("the stream is full"))
            await turns()

    @in_loop
    async def test_a_cancelled_read_loses_nothing(self, source: Source[Any], produce: Produce) -> None:
        async with opened(source), asyncio.timeout(PATIENCE):
            reading = asyncio.ensure_future(source.read())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            if reading.cancelled():
                await produce()
                batch, _ = await source.read()
                assert batch

    @in_loop
    async def test_other_filters_do_no_harm(self, source: Source[Any], produce: Produce) -> None:
        async with opened(source), asyncio.timeout(PATIENCE):
            assert isinstance(await source.refilter(source.ctx.filters), bool)
            await produce()
            batch, _ = await source.read()
            assert batch


class TransformContract(ComponentContract):
    """Fixtures: ``transform``, and ``events`` for it if the ones here do not suit."""

    @pytest.fixture
    def transform(self) -> Transform[Any]:
        raise NotImplementedError("give a fixture `transform`")

    @pytest.fixture
    def events(self) -> list[Event]:
        """Events to process: ordinary ones, and payloads a transform must not fall over."""
        payloads: list[str | bytes] = ['{"temp": 21.5, "id": 7}', '{"temp": null}', "[]", "no JSON", "", b"\xff\xfe"]
        return [make_event(payload) for payload in payloads] + [Event({"event": "client.connected", "clientid": "c1"})]

    @pytest.fixture
    def component(self, transform: Transform[Any]) -> Component[Any]:
        return transform

    def test_every_event_has_rows_or_one_cause(self, transform: Transform[Any], events: list[Event]) -> None:
        output = transform.process(events)
        parents = [i for i, _ in output.rows]
        assert parents == sorted(parents), "rows are not in the order of their events"
        for i in range(len(events)):
            where = [i in parents, i in output.no_result, i in output.exceptions]
            assert sum(where) == 1, f"event {i} is in rows, no_result, exceptions: {where}"
        assert len(set(output.no_result)) == len(output.no_result)
        assert {*parents, *output.no_result, *output.exceptions} == set(range(len(events)))
        for i, row in output.rows:
            encode_event(events[i].output(row, "rule"))

    def test_events_are_not_changed(self, transform: Transform[Any], events: list[Event]) -> None:
        before = [copy.deepcopy(event.columns) for event in events]
        transform.process(events)
        assert [event.columns for event in events] == before

    def test_an_event_alone_has_the_rows_it_has_in_a_batch(
        self, transform: Transform[Any], events: list[Event]
    ) -> None:
        together = transform.process(events)
        for i, event in enumerate(events):
            alone = transform.process([event])
            assert len(alone.rows) == sum(parent == i for parent, _ in together.rows)

    def test_no_events_give_no_rows(self, transform: Transform[Any]) -> None:
        output = transform.process([])
        assert not output.rows
        assert not output.no_result
        assert not output.exceptions

    def test_inputs_and_guards_are_well_formed(self, transform: Transform[Any]) -> None:
        inputs = transform.inputs()
        assert isinstance(inputs, Inputs)
        assert [text for text in map(problem, inputs.topics) if text] == []
        for guard in transform.guards():
            assert isinstance(guard, Guard)
            assert guard.path

    def test_an_explanation_is_given_for_every_event(self, transform: Transform[Any], events: list[Event]) -> None:
        for event in events:
            explanation = transform.explain(event)
            assert isinstance(explanation, Explanation)
            assert all(isinstance(line, str) for line in explanation.lines)


class SinkContract(ComponentContract):
    """Fixtures: ``sink``, whose peer takes everything, and ``events`` for it if the ones here do not suit."""

    @pytest.fixture
    def sink(self) -> Sink[Any]:
        raise NotImplementedError("give a fixture `sink`")

    @pytest.fixture
    def events(self) -> list[Event]:
        """Events the peer takes, each of another key."""
        events = [make_event(f'{{"n": {n}}}', topic=f"t/{n}", clientid=f"c{n}") for n in range(3)]
        for event in events:
            event.rule, event.sink, event.attempt = "rule", "sink", 1
        return events

    @pytest.fixture
    def component(self, sink: Sink[Any]) -> Component[Any]:
        return sink

    @in_loop
    async def test_a_batch_is_delivered(self, sink: Sink[Any], events: list[Event]) -> None:
        async with opened(sink):
            assert await write(sink, events) == [None] * len(events)

    @in_loop
    async def test_events_are_delivered_one_by_one_too(self, sink: Sink[Any], events: list[Event]) -> None:
        async with opened(sink):
            for event in events:
                assert await write(sink, [event]) == [None]

    @in_loop
    async def test_several_writes_may_be_under_way(self, sink: Sink[Any], events: list[Event]) -> None:
        async with opened(sink):
            results = await asyncio.gather(*(write(sink, [event]) for event in events))
        assert results == [[None]] * len(events)

    @in_loop
    async def test_an_event_is_shown_without_being_changed(self, sink: Sink[Any], events: list[Event]) -> None:
        before = [copy.deepcopy(event.columns) for event in events]
        async with opened(sink):
            for event in events:
                json.dumps(sink.render(event))
        assert [event.columns for event in events] == before, "render changed an event"

    @in_loop
    async def test_a_trial_says_that_the_peer_took_the_event(self, sink: Sink[Any], events: list[Event]) -> None:
        async with opened(sink), asyncio.timeout(PATIENCE):
            outcome = await sink.trial(events[0])
        assert outcome["ok"], outcome
        assert not outcome["error"]
        json.dumps(outcome)

    @in_loop
    async def test_events_are_not_changed(self, sink: Sink[Any], events: list[Event]) -> None:
        before = [copy.deepcopy(event.columns) for event in events]
        async with opened(sink):
            await write(sink, events)
        assert [event.columns for event in events] == before

    @in_loop
    async def test_a_cancelled_write_ends_and_settles_nothing_more(self, sink: Sink[Any], events: list[Event]) -> None:
        settled: list[int] = []
        late: list[int] = []

        def done(i: int, error: Exception | None, receipt: Receipt | None = None) -> None:
            (late if writing.done() else settled).append(i)

        async with opened(sink):
            writing = asyncio.ensure_future(sink.write(events, done))
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing], timeout=PATIENCE)
            assert writing.done(), "write does not end when it is cancelled"
            await turns()
        assert not late, "done was called after write had ended"
        assert len(set(settled)) == len(settled), "an event was settled twice"

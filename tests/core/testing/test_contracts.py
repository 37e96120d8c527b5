"""The contract classes pass what is right, and each finds the fault it is there for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import Field, SecretStr

from headrace import Batch, ComponentConfig, Connector, DeliveryError, Done, Event, Output, Sink, Source, Transform
from headrace.testing import Feed, ListSource, MapTransform, Recorder, RecordingSink, make_context, make_event
from headrace.testing.contracts import (
    PATIENCE,
    ConnectorContract,
    Produce,
    SinkContract,
    SourceContract,
    TransformContract,
    write,
)
from headrace.testing.models import check_class, check_import, check_model


class TestListSource(SourceContract):
    @pytest.fixture
    def feed(self) -> Feed:
        return Feed()

    @pytest.fixture
    def source(self, feed: Feed) -> ListSource:
        return ListSource(ListSource.Config(feed=feed), make_context())

    @pytest.fixture
    def produce(self, feed: Feed) -> Produce:
        async def produce() -> None:
            feed.put([make_event("x")])

        return produce


class TestMapTransform(TransformContract):
    @pytest.fixture
    def transform(self) -> MapTransform:
        return MapTransform(MapTransform.Config(function=lambda event: {"n": event.json()}), make_context())


class TestRecordingSink(SinkContract):
    @pytest.fixture
    def sink(self) -> RecordingSink:
        return RecordingSink(RecordingSink.Config(recorder=Recorder()), make_context())


class TestRecordingSinkThatSettlesByReturning(SinkContract):
    @pytest.fixture
    def sink(self) -> RecordingSink:
        return RecordingSink(RecordingSink.Config(recorder=Recorder(early=False)), make_context())


# -- faults ---------------------------------------------------------------------------------------------------


@contextmanager
def fault(text: str) -> Iterator[None]:
    with pytest.raises((AssertionError, TimeoutError), match=text):
        yield


class Options(ComponentConfig):
    """Options of the components below."""


class Plain(Sink[Options]):
    """A sink to go wrong."""

    name = "plain"

    async def write(self, batch: Batch, done: Done) -> None:
        return


class Ill(Connector[Options]):
    """A connector to a peer that is away."""

    name = "ill"

    async def health(self) -> None:
        raise ConnectionError("nobody there")


EVENTS = [make_event(str(n), clientid=f"c{n}") for n in range(3)]


async def test_settling_twice_is_found():
    class Twice(Plain):
        async def write(self, batch: Batch, done: Done) -> None:
            done(0, None)
            done(0, None)

    with fault("settled twice"):
        await write(Twice(Options(), make_context()), EVENTS)


async def test_an_index_beyond_the_batch_is_found():
    class Beyond(Plain):
        async def write(self, batch: Batch, done: Done) -> None:
            done(len(batch), None)

    with fault("no event 3"):
        await write(Beyond(Options(), make_context()), EVENTS)


async def test_settling_after_the_end_is_found():
    class Late(Plain):
        async def write(self, batch: Batch, done: Done) -> None:
            self.done = done

    sink = Late(Options(), make_context())
    await write(sink, EVENTS)
    with fault("after write had ended"):
        sink.done(0, None)


async def test_an_error_settles_what_was_not_settled_yet():
    failed = DeliveryError("no")
    recorder = Recorder(lambda event: failed if event["payload"] == "1" else None)
    sink = RecordingSink(RecordingSink.Config(recorder=recorder), make_context())
    assert await write(sink, EVENTS) == [None, failed, None]


async def test_a_task_left_behind_is_found():
    class Leaves(Plain):
        async def open(self) -> None:
            self.task = asyncio.create_task(asyncio.sleep(PATIENCE))

    sink = Leaves(Options(), make_context())
    with fault("left tasks behind"):
        await SinkContract().test_close_follows_open_and_leaves_no_task(sink)
    sink.task.cancel()


async def test_settling_after_a_cancelled_write_is_found():
    class Detached(Plain):
        async def write(self, batch: Batch, done: Done) -> None:
            self.task = asyncio.create_task(self.later(done))
            await asyncio.sleep(PATIENCE)

        async def later(self, done: Done) -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            done(0, None)

    with fault("done was called after"):
        await SinkContract().test_a_cancelled_write_ends_and_settles_nothing_more(
            Detached(Options(), make_context()), EVENTS
        )


async def test_a_close_that_needs_an_open_is_found():
    class Needs(Plain):
        async def close(self) -> None:
            self.connection.close()  # type: ignore[attr-defined]

    with pytest.raises(AttributeError):
        await SinkContract().test_close_works_without_open(Needs(Options(), make_context()))


async def test_an_ill_connector_is_found_and_closed():
    closed = []

    class Watched(Ill):
        async def close(self) -> None:
            closed.append(self)

    with pytest.raises(ConnectionError):
        await ConnectorContract().test_a_peer_that_is_there_is_healthy(Watched(Options(), make_context()))
    assert len(closed) == 1


async def test_a_test_that_passes_nothing_or_fails_is_found():
    class Away(Connector[Options]):
        """Has no peer."""

        name = "away"

        async def health(self) -> None:
            raise ConnectionError("nobody there")

    class Silent(Away):
        async def test(self) -> list[Any]:
            return []

    contract = ConnectorContract()
    for cls, text in [(Away, "nobody there"), (Silent, "one step")]:
        with fault(text):
            await contract.test_a_peer_that_is_there_passes_every_step_of_a_test(cls(Options(), make_context()))


async def test_the_outcome_of_a_trial_is_that_of_a_write():
    class Refuses(Plain):
        async def write(self, batch: Batch, done: Done) -> None:
            raise DeliveryError("no room")

    assert await Plain(Options(), make_context()).trial(EVENTS[0]) == {"ok": True, "error": None}
    assert await Refuses(Options(), make_context()).trial(EVENTS[0]) == {"ok": False, "error": "no room"}
    with fault("no room"):
        await SinkContract().test_a_trial_says_that_the_peer_took_the_event(Refuses(Options(), make_context()), EVENTS)


async def test_a_rendering_that_changes_the_event_or_is_no_json_is_found():
    class Changes(Plain):
        def render(self, event: Event) -> Any:
            event.columns["seen"] = True
            return {}

    class Bytes(Plain):
        def render(self, event: Event) -> Any:
            return {"body": b"x"}

    contract = SinkContract()
    with fault("render changed an event"):
        await contract.test_an_event_is_shown_without_being_changed(
            Changes(Options(), make_context()), [make_event("x")]
        )
    with pytest.raises(TypeError, match="bytes"):
        await contract.test_an_event_is_shown_without_being_changed(Bytes(Options(), make_context()), EVENTS)


async def test_an_empty_batch_is_found():
    class Empty(Source[Options]):
        """Gives nothing."""

        name = "empty"

        async def read(self) -> Any:
            return [], lambda error: None

    async def produce() -> None:
        return

    with fault("empty batch"):
        await SourceContract().test_a_batch_holds_whole_events(Empty(Options(), make_context()), produce)


class Forgets(Transform[Options]):
    """Drops every second event without a word."""

    name = "forget"

    def process(self, batch: Batch) -> Output:
        return Output([(i, dict(event.columns)) for i, event in enumerate(batch) if i % 2 == 0])


class Changes(Transform[Options]):
    """Changes the events of others."""

    name = "change"

    def process(self, batch: Batch) -> Output:
        for event in batch:
            event.columns["seen"] = True
        return Output([], range(len(batch)))


def test_an_event_without_rows_or_cause_is_found():
    with fault("event 1 is in rows"):
        TransformContract().test_every_event_has_rows_or_one_cause(Forgets(Options(), make_context()), EVENTS)


def test_a_changed_event_is_found():
    events = [Event(dict(event.columns)) for event in EVENTS]
    with pytest.raises(AssertionError):
        TransformContract().test_events_are_not_changed(Changes(Options(), make_context()), events)


def test_a_name_the_registry_refuses_is_found():
    class Shouting(Plain):
        name = "SHOUT"

    with pytest.raises(Exception, match="lower snake case"):
        check_class(Shouting)


class Inner(ComponentConfig):
    user: str


class Undescribed(ComponentConfig):
    inner: Inner | None = Field(None, description="Something nested.")


class Open(ComponentConfig, extra="allow"):
    x: int = Field(1, description="A number.")


class Loose(ComponentConfig, frozen=False):
    x: int = Field(1, description="A number.")


class Careless(ComponentConfig):
    password: str = Field("", description="Shown to everybody.")


class Careful(ComponentConfig):
    password: SecretStr | None = Field(None, description="Shown to nobody.")


@pytest.mark.parametrize(
    ("model", "text"),
    [(Undescribed, "Inner.user has no"), (Open, "unknown"), (Loose, "changed"), (Careless, "looks like a secret")],
)
def test_a_faulty_option_is_found(model: type[ComponentConfig], text: str):
    with fault(text):
        check_model(model)


def test_a_masked_secret_is_right_and_a_name_can_be_excused():
    check_model(Careful)
    check_model(Careless, frozenset({"password"}))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "socket"),
        ("open(__file__ + '.log', 'w')", "open"),
        ("import subprocess; subprocess.run(['true'])", "subprocess"),
        ("import warnings; warnings.warn('old', DeprecationWarning)", "old"),
    ],
)
def test_a_module_that_does_io_or_warns_at_import_is_found(
    source: str, text: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "busy_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with fault(text):
        check_import("busy_module")

"""Components a test holds in its hand: what comes in, what goes wrong, what arrived.

A component belongs to the engine, which makes it; so a test keeps the object in its configuration instead:

    feed, recorder = Feed(), Recorder()
    ListSource.Config(feed=feed)         feed.put([{"topic": "t/1", "payload": "x"}])
    RecordingSink.Config(recorder=recorder)         await recorder.arrived(1)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from headrace.components import ComponentConfig, Done, Guard, Inputs, Output, Sink, Source, Transform
from headrace.events import Ack, Batch, Event

__all__ = ["Feed", "ListSource", "MapTransform", "Outcome", "Recorder", "RecordingSink"]


class _Lifecycle:
    """How often a component was opened and closed, and what its next ``open`` calls shall raise."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.open_errors: deque[Exception] = deque()
        self._changed = asyncio.Event()

    def _open(self) -> None:
        self.opened += 1
        self._notify()
        if self.open_errors:
            raise self.open_errors.popleft()

    def _close(self) -> None:
        self.closed += 1
        self._notify()

    def _notify(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until ``condition()`` holds; it is looked at whenever something happened here."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Feed(_Lifecycle):
    """What a ``ListSource`` gives, batch by batch, and how each was settled."""

    def __init__(self, *batches: Iterable[Event | Mapping[str, Any]]) -> None:
        super().__init__()
        self.acks: list[tuple[Sequence[Event], Exception | None]] = []
        """Every call of an ``Ack``: the batch and the verdict. A batch settled twice is there twice."""
        self._waiting: deque[list[Event] | Exception] = deque()
        for batch in batches:
            self.put(batch)

    def put(self, batch: Iterable[Event | Mapping[str, Any]]) -> list[Event]:
        """One more batch: events, or their columns. Returns the events."""
        events = [item if isinstance(item, Event) else _event(item) for item in batch]
        self._waiting.append(events)
        self._notify()
        return events

    def fail(self, error: Exception) -> None:
        """Let ``read`` raise this after what was put before it: ``EndOfInput``, ``NotConnected``, anything."""
        self._waiting.append(error)
        self._notify()

    @property
    def accepted(self) -> list[Event]:
        """Events of the batches that were acknowledged, in order of the acks."""
        return [event for batch, error in self.acks if error is None for event in batch]

    @property
    def unread(self) -> int:
        """Batches and errors not yet read."""
        return len(self._waiting)

    async def _read(self) -> tuple[Batch, Ack]:
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        item = self._waiting.popleft()
        self._notify()
        if isinstance(item, Exception):
            raise item
        return item, lambda error: self._ack(item, error)

    def _ack(self, batch: Sequence[Event], error: Exception | None) -> None:
        self.acks.append((batch, error))
        self._notify()


def _event(columns: Mapping[str, Any]) -> Event:
    return Event({"event": "message.publish", **columns}, key=str(columns.get("clientid") or columns.get("topic", "")))


class _Held(ComponentConfig):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class ListSourceConfig(_Held):
    """Options of ``list``."""

    feed: Feed = Field(description="Where the batches come from.")


class ListSource(Source[ListSourceConfig]):
    """Gives what the test puts into its feed, then waits for more."""

    name = "list"

    async def open(self) -> None:
        self.config.feed._open()

    async def read(self) -> tuple[Batch, Ack]:
        batch, ack = await self.config.feed._read()
        for event in batch:
            event.source = event.source or self.ctx.name
        return batch, ack

    async def close(self) -> None:
        self.config.feed._close()


class MapTransformConfig(_Held):
    """Options of ``map``."""

    function: Callable[[Event], Mapping[str, Any] | Iterable[Mapping[str, Any]] | None] = Field(
        description="Row, rows or none for an event; may raise."
    )
    topics: tuple[str, ...] = Field(("#",), description="Topic filters it reads.")
    events: tuple[str, ...] = Field((), description="Event names it reads.")
    guards: tuple[Guard, ...] = Field((), description="Equalities every event with a result meets.")


class MapTransform(Transform[MapTransformConfig]):
    """Applies a Python function to each event."""

    name = "map"

    def inputs(self) -> Inputs:
        return Inputs(self.config.topics, self.config.events)

    def guards(self) -> Sequence[Guard]:
        return self.config.guards

    def process(self, batch: Batch) -> Output:
        rows: list[tuple[int, dict[str, Any]]] = []
        exceptions: dict[int, Exception] = {}
        empty: list[int] = []
        for i, event in enumerate(batch):
            try:
                result = self.config.function(event)
            except Exception as exc:  # noqa: BLE001 - the function is the test's own and may raise anything
                exceptions[i] = exc
                continue
            made = [result] if isinstance(result, Mapping) else list(result or ())
            rows += [(i, dict(row)) for row in made]
            if not made:
                empty.append(i)
        return Output(rows, empty, exceptions)


Outcome = Exception | None | Awaitable[Exception | None]
"""What becomes of an attempt: delivered, an error, or either one once something has been waited for."""


class Recorder(_Lifecycle):
    """What a ``RecordingSink`` was given, and the script of what becomes of it.

    ``script(event)`` gives the outcome of one attempt: ``None`` (delivered), an exception, or an awaitable of
    either; ``asyncio.sleep(0.01)`` is a slow delivery, ``recorder.hang()`` one that waits for ``release()``.
    ``early``: settle each event by ``done`` as soon as it is known; otherwise ``write`` returns, or raises the first
    error, when all are known. ``write_errors``: what the next calls of ``write`` raise at once, one a call.
    """

    def __init__(self, script: Callable[[Event], Outcome] = lambda event: None, *, early: bool = True) -> None:
        super().__init__()
        self.script = script
        self.early = early
        self.write_errors: deque[Exception] = deque()
        self.calls: list[list[Event]] = []
        """Every batch given to ``write``."""
        self.attempts: list[tuple[str, int]] = []
        """Every attempt: event id, number of the attempt."""
        self.delivered: list[Event] = []
        self.in_write: list[Event] = []
        """Unsettled events inside ``write`` now."""
        self.most_in_write = 0
        self.clashes: list[str] = []
        """Keys that had two unsettled events inside ``write`` at one time: with ``order: key`` there must be none."""
        self._gates: list[asyncio.Event] = []

    async def arrived(self, n: int, timeout: float = 10.0) -> list[Event]:
        """Wait until ``n`` events or more were delivered; returns them in order."""
        await self.until(lambda: len(self.delivered) >= n, timeout)
        return self.delivered

    async def hang(self) -> None:
        """An outcome that waits for ``release``; then the event counts as delivered."""
        gate = asyncio.Event()
        self._gates.append(gate)
        self._notify()
        await gate.wait()

    @property
    def hanging(self) -> int:
        """Attempts waiting in ``hang``."""
        return len(self._gates)

    def release(self) -> None:
        """Let every hanging attempt end."""
        while self._gates:
            self._gates.pop().set()

    async def _write(self, batch: Batch, done: Done) -> None:
        self._enter(batch)
        try:
            if self.write_errors:
                raise self.write_errors.popleft()
            errors = await asyncio.gather(*(self._attempt(i, event, done) for i, event in enumerate(batch)))
        finally:
            self.in_write = [event for event in self.in_write if not any(event is mine for mine in batch)]
            self._notify()
        for error in errors:
            if error is not None and not self.early:
                raise error

    def _enter(self, batch: Batch) -> None:
        self.calls.append(list(batch))
        for event in batch:
            self.attempts.append((event.id, event.attempt))
            if any(event.key == other.key for other in self.in_write):
                self.clashes.append(event.key)
            self.in_write.append(event)
        self.most_in_write = max(self.most_in_write, len(self.in_write))
        self._notify()

    async def _attempt(self, i: int, event: Event, done: Done) -> Exception | None:
        try:
            outcome = self.script(event)
            error = await outcome if isinstance(outcome, Awaitable) else outcome
        except Exception as exc:  # noqa: BLE001 - the script is the test's own and may raise anything
            error = exc
        if error is None:
            self.delivered.append(event)
        if self.early:
            self.in_write.remove(event)
            done(i, error)
        self._notify()
        return error


class RecordingSinkConfig(_Held):
    """Options of ``recording``."""

    recorder: Recorder = Field(description="Where the events go.")


class RecordingSink(Sink[RecordingSinkConfig]):
    """Delivers into its recorder, as the test's script says."""

    name = "recording"

    async def open(self) -> None:
        self.config.recorder._open()

    async def write(self, batch: Batch, done: Done) -> None:
        await self.config.recorder._write(batch, done)

    async def close(self) -> None:
        self.config.recorder._close()

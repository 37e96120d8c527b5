"""What the engine sees of a stream: topics, the records they hand over, and how much they may hold."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from headrace.errors import StreamError, StreamFull
from headrace.events import Event, encode_event, join
from headrace.stream.kept import Kept
from headrace.stream.series import Entry

__all__ = ["MESSAGE_BYTES", "MESSAGE_EVENTS", "Message", "Record", "Topic", "TopicOptions", "messages"]

MESSAGE_EVENTS = 256
MESSAGE_BYTES = 256 << 10
_SPARE_BYTES = 16 << 20  # what a full topic still takes, from callers that were told there was room


@dataclass(frozen=True)
class TopicOptions:
    """``max_bytes`` counts unsettled bytes. ``when_full`` says what gives way then.

    ``consumed`` False: a log without a consumer (dead letters); beyond ``max_bytes`` its oldest segment goes, counted.
    """

    max_bytes: int
    when_full: Literal["block", "drop_oldest", "drop_newest"] = "block"
    consumed: bool = True


class Message(Entry):
    """One stream message: some events and their encoding. ``call``: the future of the ``send`` it is a part of."""

    __slots__ = ("call", "events")

    call: asyncio.Future[None]

    def __init__(self, events: Sequence[Event], encoded: Sequence[bytes]) -> None:
        super().__init__(join(encoded), len(events), events[0].timestamp)
        self.events = events


def messages(events: Sequence[Event]) -> list[Message]:
    """Cut a batch into messages of at most 256 events and 256 KiB; a larger event travels alone."""
    encoded = [encode_event(event) for event in events]
    if len(events) <= MESSAGE_EVENTS and sum(map(len, encoded)) <= MESSAGE_BYTES:
        return [Message(tuple(events), encoded)] if events else []
    found, start, size = [], 0, 0
    for at, data in enumerate(encoded):
        if at > start and (size + len(data) > MESSAGE_BYTES or at - start == MESSAGE_EVENTS):
            found.append(Message(tuple(events[start:at]), encoded[start:at]))
            start, size = at, 0
        size += len(data)
    found.append(Message(tuple(events[start:]), encoded[start:]))
    return found


class Record(ABC):
    """One message as handed to a consumer.

    ``events``: all of them, in order. ``settled``: the indices settled before a restart, to be skipped.
    ``size``: encoded bytes.
    """

    __slots__ = ("events", "settled", "size")

    def __init__(self, events: Sequence[Event], settled: Container[int], size: int) -> None:
        self.events = events
        self.settled = settled
        self.size = size

    @abstractmethod
    def settle(self, *indexes: int) -> None:
        """These events need nothing more. Once for each index not in ``settled``; once more is logged, and nothing."""

    @abstractmethod
    def settle_all(self) -> None:
        """No event that is left needs anything more. Once."""


class Topic(ABC):
    """One topic.

    ``unsettled`` and ``unsettled_bytes`` count what was sent and is not settled. ``recovered``: events found
    unsettled when the topic was opened. ``corrupt``: events lost to damaged files (records, where their number of
    events is unknown); those found when it was opened are not in ``recovered``, those found later leave ``unsettled``.
    """

    def __init__(self, name: str, options: TopicOptions) -> None:
        self.name = name
        self.full_name = name  # on the backend
        self.options = options
        self.unsettled = 0
        self.unsettled_bytes = 0
        self.recovered = 0
        self.corrupt = 0
        self.on_full: Callable[[int], None] | None = None
        """Called with the bytes that must go (drop_oldest): the engine settles old events it holds."""
        self.on_dropped: Callable[[int, Sequence[Event]], None] | None = None
        """Told how many unread events the topic itself dropped; and which, if it has a consumer."""
        self.reading = False  # it has a consumer
        self._waiting: list[asyncio.Future[None]] = []

    # -- what a backend adds

    @abstractmethod
    def _store(self, parts: Sequence[Message], call: asyncio.Future[None]) -> None:
        """Count and store messages; ``call`` is resolved when all of them are as durable as ``sync`` asks."""

    def _closed(self) -> str:
        """Why nothing can be sent any more, or ""."""
        return ""

    def _blocked(self) -> str:
        """Why there is no room for anything just now, or ""."""
        return ""

    @abstractmethod
    def _drop_oldest(self, size: int) -> None:
        """Make room for so many bytes by settling what is oldest."""

    @property
    @abstractmethod
    def held(self) -> int:
        """Unsettled events that were handed to the consumer."""

    @property
    @abstractmethod
    def unread(self) -> int:
        """Events stored and not yet handed to the consumer."""

    @abstractmethod
    async def until_settled(self) -> None:
        """Wait until everything handed over is settled, and that is committed."""

    @abstractmethod
    def faust_app(self, group: str) -> Any:
        """A Faust app that reads this topic, with ``crashed_event``.

        Its consumer has ``running`` (an event), ``taken()`` and ``done()`` for the agent, and ``halt()``.
        """

    @property
    @abstractmethod
    def oldest(self) -> int | None:
        """Timestamp (ms) of the oldest unsettled event, or of the first event of its message."""

    # -- a topic that nobody consumes

    def kept(self) -> Iterator[Kept]:
        """Its unsettled events of this moment, oldest first; may be iterated on another thread.

        ``StreamError`` if this backend cannot.
        """
        raise StreamError(f"{self.full_name} is a topic on Kafka: read and empty it with Kafka's own tools")

    def discard(self, kept: Kept) -> bool:
        """Settle one of them. False if it is settled already."""
        raise NotImplementedError

    def attach(self, options: TopicOptions) -> None:
        """Go on with these options."""
        self.options = options
        self.wake()

    # -- sending

    def send(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """Store events; never blocks. Resolved when all of them are as durable as ``sync`` asks.

        Fails with ``StreamFull`` or ``StreamError`` when they were not stored (a part may have been), and with what
        the encoder raised (TypeError, ValueError) when an event cannot travel: then nothing was stored. ``await
        room()`` before it: without room it takes a little more, so that nothing deadlocks, then it is full.
        The events must not be changed afterwards: a consumer that has caught up gets these very objects.
        """
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            parts = self._cut(events)
        except (TypeError, ValueError) as exc:
            call.set_exception(exc)
            return call
        size = sum([len(part.payload) for part in parts])
        if parts and self._admit(call, size, events):
            self.unsettled += len(events)
            self.unsettled_bytes += size
            self._store(parts, call)
        elif not call.done():
            call.set_result(None)
        return call

    def _cut(self, events: Sequence[Event]) -> list[Message]:
        return messages(events)

    def _admit(self, call: asyncio.Future[None], size: int, events: Sequence[Event]) -> bool:
        """May these bytes come in? If not, ``call`` has the reason, or they were dropped."""
        options = self.options
        if closed := self._closed():
            call.set_exception(StreamError(f"{self.name}: {closed}"))
            return False
        if self.has_room():
            return True
        blocked = self._blocked()
        if options.when_full == "drop_oldest" and not blocked:
            self._drop_oldest(size)
            return True
        if options.when_full == "block" or not options.consumed:
            if blocked:
                call.set_exception(StreamFull(f"{self.name}: {blocked}"))
            elif self.unsettled_bytes >= options.max_bytes + max(options.max_bytes, _SPARE_BYTES):
                call.set_exception(StreamFull(f"{self.name} holds {self.unsettled_bytes} unsettled bytes"))
            return not call.done()
        self.dropped(len(events), events)
        return False

    def has_room(self) -> bool:
        """Below ``max_bytes`` of unsettled events, and the disk above its floor?"""
        return self.unsettled_bytes < self.options.max_bytes

    async def room(self) -> None:
        """Wait until there is room."""
        while not self.has_room():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def wake(self) -> None:
        """Let those waiting for room look again, if there is some."""
        if self._waiting and self.has_room():
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def dropped(self, count: int, events: Sequence[Event] = ()) -> None:
        """Tell the engine that unread events are gone."""
        if count and self.on_dropped:
            self.on_dropped(count, events)

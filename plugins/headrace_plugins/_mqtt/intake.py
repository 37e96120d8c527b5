"""Messages between the wire and the engine: taken in, not settled, bounded in bytes.

A connection adds messages to its ``Incoming``; these go on in chunks to the ``Intake``, which the engine reads. When
the engine settles them, the answers that are owed go out in the order the messages came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from headrace import Ack, Batch, Event

__all__ = ["ANSWER", "EVENT_BYTES", "Chunk", "Incoming", "Intake"]

BATCH = 256
BATCH_BYTES = 256 << 10
EVENT_BYTES = 1024
"""About what an event holds in memory beside its packet."""

ANSWER = (b"", b"\x40\x02", b"\x50\x02")  # PUBACK, PUBREC: first byte and length
_ANSWER_BYTES = 4


class Connection(Protocol):
    """What ``Incoming`` needs of the connection it belongs to."""

    def answer(self, acks: bytes) -> None:
        """These PUBACKs and PUBRECs may go out with the next ``flush``."""

    def flush(self) -> None: ...

    def refuse(self) -> None:
        """The engine will not have a message that was to be acknowledged: make the sender send it again."""

    def go_on(self) -> None:
        """There is room again after ``Incoming.pause``."""


class Chunk:
    """Events of one connection that are settled together, and the answers owed for them."""

    __slots__ = ("acks", "cost", "done", "error", "events", "followers", "ids", "incoming", "owed")

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.events: list[Event] = []
        self.acks = bytearray()
        self.owed = 0
        """Answers in ``acks``, if they are not of four bytes each."""
        self.cost = 0
        self.done = False
        self.error: Exception | None = None
        self.ids: list[bytes] = []
        """Packet ids of QoS 2 among the events."""
        self.followers: list[Chunk] = []
        """Answers of a later connection that wait for this chunk: the same messages, sent again."""


class Incoming:
    """The unsettled messages of one connection.

    ``received`` belongs to the session and outlives the connection: the packet id of each QoS 2 message that is not
    released → its chunk, or None when the engine has it.
    """

    __slots__ = ("_chunk", "_connection", "_intake", "_unsettled", "held", "paused", "received", "unacked")

    def __init__(self, intake: Intake, connection: Connection) -> None:
        self.held = 0
        """Memory of the messages, about."""
        self.unacked = 0
        """Messages whose answer is owed."""
        self.paused = False
        self.received: dict[bytes, Chunk | None] = {}
        self._intake = intake
        self._connection = connection
        self._chunk: Chunk | None = None  # not handed on yet
        self._unsettled: list[
            Chunk
        ] = []  # oldest first, the one not handed on included; an empty deque takes 600 bytes

    def add(self, event: Event, size: int, qos: int, packet_id: bytes) -> None:
        """A message that came in a packet of ``size`` bytes."""
        chunk = self._chunk or self._begin()
        chunk.events.append(event)
        if qos:
            chunk.acks += ANSWER[qos] + packet_id
            self.unacked += 1
            if qos == 2:
                chunk.ids.append(packet_id)
                self.received[packet_id] = chunk
        self._added(chunk, size + EVENT_BYTES)

    def room(self) -> tuple[int, int]:
        """How many messages, of how many bytes, ``add_many`` may be given at this moment."""
        bytes_left = self._intake.limit - self.held
        if self._chunk is None:
            return BATCH, min(BATCH_BYTES, bytes_left)
        return BATCH - len(self._chunk.events), min(BATCH_BYTES - self._chunk.cost, bytes_left)

    def add_many(self, events: list[Event], size: int, acks: bytearray, ids: Iterable[bytes]) -> None:
        """The same as ``add`` for each of these; ``size`` is that of all, ``ids`` are those of QoS 2."""
        chunk = self._chunk or self._begin()
        chunk.events += events
        chunk.acks += acks
        self.unacked += len(acks) // _ANSWER_BYTES
        for packet_id in ids:
            chunk.ids.append(packet_id)
            self.received[packet_id] = chunk
        self._added(chunk, size + len(events) * EVENT_BYTES)

    def _added(self, chunk: Chunk, cost: int) -> None:
        chunk.cost += cost
        self.held += cost
        if len(chunk.events) == BATCH or chunk.cost > BATCH_BYTES:
            self.hand_on()

    def _begin(self) -> Chunk:
        chunk = self._chunk = Chunk(self)
        self._unsettled.append(chunk)
        return chunk

    def hand_on(self) -> None:
        """Let the engine read what was added."""
        chunk, self._chunk = self._chunk, None
        if chunk is not None:
            self._intake.put(chunk)

    def answer_again(self, qos: int, packet_id: bytes, first: Chunk | None, event: Event | None = None) -> None:
        """A message came a second time: it is no new event, but its answer is owed as soon as ``first`` is settled.

        With its ``event`` it is found by ``unanswered`` if it has to come a third time.
        """
        if first is not None and first.incoming is self:
            return  # twice on one connection: the answer of the first is for both
        again = self._owe(ANSWER[qos] + packet_id)
        again.events += (event,) if event is not None else ()
        if first is None or first.done:
            self.settle(again, None if first is None else first.error)
        else:
            first.followers.append(again)

    def reply(self, answer: bytes) -> None:
        """Answer a message that becomes no event; the answer waits for those before it and nothing else."""
        self.settle(self._owe(answer), None)

    def _owe(self, answer: bytes) -> Chunk:
        self.hand_on()
        chunk = self._begin()
        self._chunk = None
        chunk.acks += answer
        chunk.owed = 1
        self.unacked += 1
        return chunk

    def settle(self, chunk: Chunk, error: Exception | None) -> None:
        """The engine has a chunk, or will not have it."""
        chunk.done, chunk.error = True, error
        for packet_id in chunk.ids:
            if self.received.get(packet_id) is chunk:
                if error is None:
                    self.received[packet_id] = None
                else:
                    del self.received[packet_id]
        if error is not None and chunk.acks:
            self._connection.refuse()
        if self._unsettled and self._unsettled[0] is chunk:
            self._answer_in_turn()
        for follower in chunk.followers:
            follower.incoming.settle(follower, error)
            follower.incoming.flush()

    def _answer_in_turn(self) -> None:
        unsettled, n = self._unsettled, 0
        for settled in unsettled:
            if not settled.done or (settled.error and settled.acks):
                break
            n += 1
            self.unacked -= settled.owed or len(settled.acks) // _ANSWER_BYTES
            self._connection.answer(bytes(settled.acks))
        del unsettled[:n]

    def flush(self) -> None:
        self._connection.flush()

    def unanswered(self) -> dict[bytes, tuple[Chunk, Event]]:
        """QoS 1 messages whose PUBACK did not go out, by packet id: the other side sends them again."""
        found = {}
        for chunk in self._unsettled:
            if not chunk.acks:
                continue
            acks = (chunk.acks[i : i + _ANSWER_BYTES] for i in range(0, len(chunk.acks), _ANSWER_BYTES))
            for event, ack in zip((event for event in chunk.events if event["qos"]), acks, strict=False):
                if ack[:2] == ANSWER[1] and chunk.error is None:
                    found[bytes(ack[2:])] = chunk, event
        return found

    def pause(self) -> None:
        """Not read for want of room; the connection's ``go_on`` ends it."""
        self.paused = True
        self._intake.paused.add(self)

    def resume(self) -> None:
        self.paused = False
        self._intake.paused.discard(self)
        self._connection.go_on()

    def forget(self) -> None:
        """The connection is gone: it is not to be resumed."""
        self.paused = False
        self._intake.paused.discard(self)


class Intake:
    """A queue of chunks, bounded in bytes for each connection and in all.

    ``limit`` is what one connection may hold at this moment; 0 when all together hold too much.
    """

    def __init__(self, max_pending: int, max_buffer: int) -> None:
        self.limit = max_pending
        self.held = 0
        self.paused: set[Incoming] = set()
        self._max_pending, self._max_buffer = max_pending, max_buffer
        self._ready: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self._end: Exception | None = None

    def put(self, chunk: Chunk) -> None:
        """Queue a chunk with events."""
        self._ready.append(chunk)
        self.held += chunk.cost
        if self.held >= self._max_buffer:
            self.limit = 0
        self._arrived.set()

    def end(self, error: Exception) -> None:
        """Let ``read`` raise this, once, when it has given all there is."""
        self._end = error
        self._arrived.set()

    async def read(self) -> tuple[Batch, Ack]:
        """Wait for events; return what has arrived, at most a batch of it. A cancelled read loses nothing."""
        ready = self._ready
        while not ready:
            error, self._end = self._end, None
            if error is not None:
                raise error
            self._arrived.clear()
            await self._arrived.wait()
        first = ready.popleft()
        chunks, events, room = [first], first.events[:], BATCH_BYTES - first.cost
        while ready and len(events) + len(ready[0].events) <= BATCH and room >= ready[0].cost:
            chunk = ready.popleft()
            chunks.append(chunk)
            events += chunk.events
            room -= chunk.cost
        return events, partial(self._settle, chunks)

    def _settle(self, chunks: list[Chunk], error: Exception | None) -> None:
        owners: dict[Incoming, None] = {}
        for chunk in chunks:
            owner = chunk.incoming
            self.held -= chunk.cost
            owner.held -= chunk.cost
            owner.settle(chunk, error)
            owners[owner] = None
        for owner in owners:
            owner.flush()
            if owner.paused and owner.held <= self.limit // 2 and self.limit:
                owner.resume()
        if not self.limit and self.held <= self._max_buffer // 2:
            self._reopen()

    def _reopen(self) -> None:
        self.limit = self._max_pending
        for owner in list(self.paused):
            if owner.held <= self.limit // 2:
                owner.resume()
            if not self.limit:  # they took in so much that all have to wait again
                return

    def drain(self) -> list[Event]:
        """What was taken in and never read, when the source closes."""
        events = [event for chunk in self._ready for event in chunk.events]
        self._ready.clear()
        return events

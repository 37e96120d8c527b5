"""What the connections took in and the engine has not settled yet."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Protocol

from headrace import Ack, Batch, Event

BATCH = 256
BATCH_BYTES = 256 << 10
EVENT_BYTES = 1024
"""About what an event holds in memory beside its packet."""


class Owner(Protocol):
    """The connection a chunk came by."""

    held: int
    paused: bool

    def settled(self, chunk: Chunk, error: Exception | None) -> None: ...
    def flush(self) -> None: ...
    def resume(self) -> None: ...


class Chunk:
    """Events of one connection that are acknowledged together, and the packets that do it."""

    __slots__ = ("acks", "cost", "done", "events", "followers", "ids", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.events: list[Event] = []
        self.acks = bytearray()
        self.cost = 0
        self.done = False
        self.ids: list[bytes] = []
        """Packet ids of QoS 2 among the events."""
        self.followers: list[Chunk] = []
        """Chunks of a later connection of the same session that wait for this one's outcome."""


class Intake:
    """A queue of chunks, bounded in bytes for each connection and in all.

    ``limit`` is what one connection may hold at this moment; 0 when all together hold too much.
    """

    def __init__(self, max_pending: int, max_buffer: int) -> None:
        self.limit = max_pending
        self.held = 0
        self.paused: set[Owner] = set()
        self._max_pending, self._max_buffer = max_pending, max_buffer
        self._ready: deque[Chunk] = deque()
        self._arrived = asyncio.Event()

    def put(self, chunk: Chunk) -> None:
        """Queue a chunk with events. Its owner has counted the cost as its own."""
        self._ready.append(chunk)
        self.held += chunk.cost
        if self.held >= self._max_buffer:
            self.limit = 0
        self._arrived.set()

    async def read(self) -> tuple[Batch, Ack]:
        """Wait for events; return what has arrived, at most a batch of it."""
        while not self._ready:
            self._arrived.clear()
            await self._arrived.wait()
        ready = self._ready
        first = ready.popleft()
        chunks, events, room = [first], first.events, BATCH_BYTES - first.cost
        while ready and len(events) + len(ready[0].events) <= BATCH and room >= ready[0].cost:
            chunk = ready.popleft()
            chunks.append(chunk)
            events += chunk.events
            room -= chunk.cost
        return events, partial(self._settle, chunks)

    def _settle(self, chunks: list[Chunk], error: Exception | None) -> None:
        owners = []
        for chunk in chunks:
            owner = chunk.owner
            self.held -= chunk.cost
            owner.held -= chunk.cost
            owner.settled(chunk, error)
            owners.append(owner)
        for owner in dict.fromkeys(owners):
            owner.flush()
            if owner.paused and self.limit and owner.held <= self.limit // 2:
                owner.resume()
        if not self.limit and self.held <= self._max_buffer // 2:
            self._reopen()

    def _reopen(self) -> None:
        self.limit = self._max_pending
        for owner in list(self.paused):
            if owner.held <= self.limit // 2:
                owner.resume()
            if not self.limit:  # it took in so much that all are held again
                return

    def drain(self) -> list[Event]:
        """What was taken in and never read, when the source closes."""
        events = [event for chunk in self._ready for event in chunk.events]
        self._ready.clear()
        return events

"""Key lanes: the order in which a sink's waiting events may be tried.

Of each key only the head may be with the sink; the others of that key wait behind it, whatever happens to it. Keys do
not wait for each other. An item that was settled while it waited (too old, pushed out) is skipped when its turn comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from headrace.events import Event

__all__ = ["Ahead", "Item", "Lanes", "Taken"]

MAX_AHEAD_EVENTS = 4096
MAX_AHEAD_BYTES = 16 << 20

WAITING, WRITING, RETRYING, SETTLED = range(4)


class Taken:
    """One record of the stream while any of its events is unsettled: the unit in which reading ahead is bounded."""

    __slots__ = ("born", "items", "left", "record", "size")

    def __init__(self, record: Any, size: int, born: float = 0.0) -> None:
        self.record = record
        self.size = size
        self.born = born  # loop time
        self.items: list[Item] = []
        self.left = 0


class Item:
    """One event on its way through a sink.

    ``failures``: failed attempts that count against max_attempts. ``first`` and ``mark``: the sink's successes when the
    first, and the last, attempt began. ``alone``: not in one request with others, one of them is to blame for a
    failure. ``last``: how the last attempt failed. ``passes``: the head of its lane, while this one is tried in its
    place.
    """

    __slots__ = (
        "alone", "event", "failures", "first", "index", "key", "last", "mark", "passes", "state", "taken", "tries",
    )  # fmt: skip

    def __init__(self, event: Event, taken: Taken, index: int, key: str) -> None:
        self.event = event
        self.taken = taken
        self.index = index  # in the record
        self.key = key
        self.state = WAITING
        self.tries = self.failures = self.first = self.mark = 0
        self.alone = False
        self.last: tuple[Any, Exception] | None = None
        self.passes: Item | None = None

    @property
    def given_at(self) -> int:
        """When its ttl begins (ms): when it was made, or when it came from another sink or the dead letters."""
        event = self.event
        return event.timestamp if event.error is None else int(event.error["at"])


class Ahead:
    """What was read off the stream and is not settled: bounded in events and bytes, the oldest record first."""

    def __init__(self) -> None:
        self.window: deque[Taken] = deque()
        self.events = self.bytes = 0
        self._room = asyncio.Event()

    async def room(self) -> None:
        """Returns when another record may be read."""
        while self.events >= MAX_AHEAD_EVENTS or self.bytes >= MAX_AHEAD_BYTES:
            self._room.clear()
            await self._room.wait()

    def add(self, taken: Taken) -> None:
        """A record was read; ``left`` of its events are not settled."""
        self.window.append(taken)
        self.events += taken.left
        self.bytes += taken.size

    def settled(self, items: Iterable[Item]) -> None:
        """These events are settled for good: tell the stream, move the window."""
        parts: dict[Taken, list[int]] = {}
        for item in items:
            part = parts.get(item.taken)
            if part is None:
                parts[item.taken] = [item.index]
            else:
                part.append(item.index)
        for taken, indexes in parts.items():
            taken.record.settle(*indexes)
            taken.left -= len(indexes)
        window = self.window
        while window and not window[0].left:
            first = window.popleft()
            self.events -= len(first.items)
            self.bytes -= first.size
            first.items = []  # they refer to each other, and would wait for the collector, all their events with them
        if not self._room.is_set():
            self._room.set()


class Lanes:
    """The waiting items of one sink. ``ordered`` False: every item is its own lane."""

    def __init__(self, ordered: bool = True) -> None:
        self.ordered = ordered
        self._behind: dict[str, deque[Item] | None] = {}  # key → those behind the head; None = nobody yet
        self._ready: deque[Item] = deque()

    def add(self, item: Item) -> None:
        """A new item: ready if nobody of its key is before it."""
        if not self.ordered:
            self._ready.append(item)
            return
        behind = self._behind
        key = item.key
        if key not in behind:
            behind[key] = None
            self._ready.append(item)
        else:
            lane = behind[key]
            if lane is None:
                behind[key] = deque((item,))
            else:
                lane.append(item)

    def again(self, item: Item) -> None:
        """The head of a lane, to be tried again after those that are ready now."""
        item.state = WAITING
        self._ready.append(item)

    def release(self, item: Item) -> None:
        """The head is done with: the next of its key becomes ready."""
        if not self.ordered:
            return
        lane = self._behind[item.key]
        while lane:
            follower = lane.popleft()
            if follower.state != SETTLED:
                self._ready.append(follower)
                return
        del self._behind[item.key]

    def take(self, n: int) -> list[Item]:
        """Up to ``n`` ready items, now being written."""
        ready = self._ready
        taken: list[Item] = []
        while ready and len(taken) < n:
            item = ready.popleft()
            if item.state == SETTLED:
                self.release(item)
                continue
            item.state = WRITING
            taken.append(item)
        return taken

    def followers(self, item: Item, n: int) -> list[Item]:
        """Up to ``n`` items that may go in one request with their head: the next of its lane, now being written."""
        lane = self._behind.get(item.key) if self.ordered else None
        taken: list[Item] = []
        while lane and len(taken) < n:
            follower = lane.popleft()
            if follower.state != SETTLED:
                follower.state = WRITING
                taken.append(follower)
        return taken

    def put_back(self, items: list[Item]) -> None:
        """Followers of a head that failed, back behind it in their order."""
        for item in reversed(items):
            item.state = WAITING
            lane = self._behind[item.key]
            if lane is None:
                lane = self._behind[item.key] = deque()
            lane.appendleft(item)

    @property
    def ready(self) -> int:
        """Items that could be tried now (some may have been settled since)."""
        return len(self._ready)

    @property
    def born(self) -> float | None:
        """When the first of the ready items came (loop time); None if nobody is ready."""
        return self._ready[0].taken.born if self._ready else None

    def __iter__(self) -> Iterator[Item]:
        """Every waiting item, heads first."""
        yield from self._ready
        for lane in self._behind.values():
            yield from lane or ()

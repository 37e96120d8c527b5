"""What of a topic nobody has taken yet: in memory while its consumer keeps up, else in the files."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from typing import NamedTuple

from headrace.events import Event
from headrace.stream.files import Files
from headrace.stream.offsets import Settled, gaps
from headrace.stream.segments import Stored
from headrace.stream.series import Lost, Reader, Series
from headrace.stream.topic import Message

__all__ = ["TAIL_BYTES", "Backlog", "Unread"]

TAIL_BYTES = 8 << 20
_NOTHING: frozenset[int] = frozenset()


class Unread(NamedTuple):
    """A record of ``number`` events. ``left`` of them are unsettled; ``settled`` has the indices of the others.

    ``events`` None: they are still encoded in ``payload``.
    """

    offset: int
    number: int
    left: int
    settled: Container[int]
    timestamp: int
    size: int
    events: Sequence[Event] | None
    payload: bytes


class Backlog:
    """The records from a position of the log to its end, in order; ``events`` is the number of unsettled ones."""

    def __init__(self, series: Series, files: Files) -> None:
        self.events = 0
        self._reader = Reader(series, files)
        self._end = 0
        self._tail: deque[Unread] = deque()
        self._tail_bytes = 0
        self._tail_open = False  # everything beyond the tail's last record is in the tail, too
        self._use_tail = False
        self._settled: list[tuple[int, int]] = [(0, 0)]  # when reading began; nothing beyond is settled later

    def close(self) -> None:
        self._reader.close()

    def rewind(self, settled: Settled, end: int, *, tail: bool) -> None:
        """Begin anew with the oldest unsettled record of a log that ends before ``end``."""
        self._end = end
        self._tail.clear()
        self._tail_bytes, self._use_tail = 0, tail
        self._settled = [(0, settled.low), *settled.ranges()]
        self._reader.seek(settled.low)
        self.events = sum(stop - start for start, stop in gaps(settled.low, end, self._settled))
        self._tail_open = tail and not self.events

    def push(self, message: Message) -> None:
        """A message was appended to the log."""
        self._end = message.offset + message.count
        self.events += message.count
        if not self._tail_open:
            return
        size = len(message.payload)
        if self._tail_bytes + size > TAIL_BYTES:
            self._tail_open = False
            self._reader.seek_entry(message)
            return
        self._tail_bytes += size
        self._tail.append(
            Unread(message.offset, message.count, message.count, _NOTHING, message.timestamp, size, message.events, b"")
        )

    def pop(self) -> Unread | None:
        """The next record with something unsettled; None if there is none yet. ``OSError`` if it cannot be read.

        ``Lost``: damaged records were skipped; they are not in ``events`` any more.
        """
        while not self._tail and not self._tail_open:
            try:
                stored = self._reader.read(self._end)
            except Lost as lost:
                lost.ranges = list(gaps(lost.start, lost.end, self._settled))
                self.events -= sum(stop - start for start, stop in lost.ranges)
                raise
            if stored is None:
                self._tail_open = self._use_tail
                self._reader.close()
                return None
            if unread := self._unread(stored):
                self.events -= unread.left
                return unread
        if not self._tail:
            return None
        unread = self._tail.popleft()
        self._tail_bytes -= unread.size
        self.events -= unread.left
        return unread

    def put_back(self, unread: Unread) -> None:
        """What was popped last is next again."""
        self._tail.appendleft(unread)
        self._tail_bytes += unread.size
        self.events += unread.left

    def _unread(self, stored: Stored) -> Unread | None:
        offset, number, timestamp, payload = stored
        settled, left = _NOTHING, number
        if offset < self._settled[-1][1]:
            missing = [
                at - offset for start, end in gaps(offset, stored.end, self._settled) for at in range(start, end)
            ]
            left = len(missing)
            settled = frozenset(range(number)).difference(missing)
        if not left:
            return None
        return Unread(offset, number, left, settled, timestamp, len(payload), None, payload)

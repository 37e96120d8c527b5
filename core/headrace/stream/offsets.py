"""What is settled: the commit point of a topic, and its record on disk."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from headrace.stream.files import Files

__all__ = ["OffsetsFile", "Settled", "gaps", "newest"]


class Settled:
    """Every offset below ``low`` is settled, and so are the ranges beyond it. ``high``: the end of the last range."""

    __slots__ = ("_by_end", "_by_start", "_sorted", "high", "low")

    def __init__(self, low: int = 0, ranges: list[tuple[int, int]] | None = None) -> None:
        self.low = low
        self.high = low
        self._by_start: dict[int, int] = {}
        self._by_end: dict[int, int] = {}
        self._sorted: list[tuple[int, int]] | None = None
        for start, end in ranges or ():
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Settle the offsets from ``start`` to before ``end``, none of which is settled yet."""
        if end > self.high:
            self.high = end
        self._sorted = None
        if start == self.low:
            self.low = self._by_start.pop(end, end)
            if self.low != end:
                del self._by_end[self.low]
            return
        start = self._by_end.pop(start, start)
        following = self._by_start.pop(end, None)
        if following is not None:
            end = following
        self._by_start[start] = end
        self._by_end[end] = start

    def ranges(self) -> list[tuple[int, int]]:
        """The settled ranges beyond ``low``, in order; they neither touch nor overlap."""
        if self._sorted is None:
            self._sorted = sorted(self._by_start.items())
        return self._sorted

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``start`` to ``end`` that are not settled."""
        if start >= self.high:
            return [(start, end)] if start < end else []
        return list(gaps(max(start, self.low), end, self.ranges()))


def gaps(start: int, end: int, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of ``start`` to ``end`` the sorted ``ranges`` leave out."""
    at = max(bisect_right(ranges, (start, 0)) - 1, 0)
    while start < end and at < len(ranges):
        first, last = ranges[at]
        if first >= end:
            break
        if start < first:
            yield start, first
        start = max(start, last)
        at += 1
    if start < end:
        yield start, end


_SLOT = 1 << 16
_CHECK = struct.Struct("<8sI")
_BODY = struct.Struct("<QQI")  # generation, low, number of ranges
_RANGE = struct.Struct("<II")  # start and end, counted from low
_MAGIC = b"hr-offs1"
MOST_RANGES = (_SLOT - _CHECK.size - _BODY.size) // _RANGE.size


def newest(files: Files, fd: int) -> tuple[int, int, Settled] | None:
    """Generation, slot and content of the newest whole record in an offsets file."""
    found = [(*record, slot) for slot in (0, 1) if (record := _decode(files.read_at(fd, _SLOT, slot * _SLOT)))]
    if not found:
        return None
    generation, settled, slot = max(found, key=lambda record: record[0])
    return generation, slot, settled


def _decode(data: bytes) -> tuple[int, Settled] | None:
    if len(data) < _CHECK.size + _BODY.size:
        return None
    magic, crc = _CHECK.unpack_from(data)
    generation, low, count = _BODY.unpack_from(data, _CHECK.size)
    end = _CHECK.size + _BODY.size + count * _RANGE.size
    if magic != _MAGIC or end > len(data) or crc32(memoryview(data)[_CHECK.size : end]) != crc:
        return None
    pairs = _RANGE.iter_unpack(data[_CHECK.size + _BODY.size : end])
    return generation, Settled(low, [(low + start, low + stop) for start, stop in pairs])


class OffsetsFile:
    """The commit record: two slots, written in turn, so that one of them is always whole; the newest counts."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._fd = files.open(path)
        self._generation = 0
        self._turn = 0
        if not files.size(self._fd):  # room for later, so that a full disk does not keep what is settled from going
            for slot in (0, 1):
                files.write_at(self._fd, bytes(4096), slot * _SLOT)

    def close(self) -> None:
        self._files.close(self._fd)

    def load(self) -> Settled | None:
        """The newest whole record, or None."""
        found = newest(self._files, self._fd)
        if found is None:
            return None
        self._generation, slot, settled = found
        self._turn = 1 - slot
        return settled

    def encode(self, settled: Settled) -> bytes:
        """The next record. Ranges that do not fit are left out: their events come again, none is lost."""
        self._generation += 1
        low, ranges = settled.low, settled.ranges()[:MOST_RANGES]
        body = _BODY.pack(self._generation, low, len(ranges))
        if ranges:
            body += b"".join([_RANGE.pack(start - low, end - low) for start, end in ranges])
        return _CHECK.pack(_MAGIC, crc32(body)) + body

    def write(self, record: bytes) -> None:
        """Put an encoded record into the slot whose turn it is; after a failure that stays the same slot."""
        if self._files.write_at(self._fd, record, self._turn * _SLOT) != len(record):
            raise OSError("short write of a commit record")
        self._turn = 1 - self._turn

    def sync(self) -> None:
        self._files.sync(self._fd)

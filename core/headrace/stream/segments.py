"""The files of one topic: a series of append-only segments.

A segment is a magic number and records. A record is a header (marker, payload length, CRC-32 of what follows,
offset of its first event, number of events, timestamp) and the payload. Offsets count events, so the record that
holds the events 7, 8 and 9 has offset 7 and 3 events. The name of a segment is the offset it begins with.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from headrace.stream.files import Files

__all__ = ["HEADER", "MAGIC", "Corrupt", "Segment", "SegmentReader", "Stored", "frame"]

MAGIC = b"headrace-log-1\r\n"
_MARKER = 0xA7D3EAD5
_HEAD = struct.Struct("<III")
_META = struct.Struct("<QIQ")
HEADER = _HEAD.size + _META.size
_MARKER_BYTES = _MARKER.to_bytes(4, "little")
_BLOCK = 1 << 18


class Corrupt(Exception):
    """The record at ``position`` is not what was written. ``torn``: the file ends inside it."""

    def __init__(self, path: Path, position: int, torn: bool) -> None:
        super().__init__(f"{path}: no valid record at byte {position}")
        self.position = position
        self.torn = torn


class Stored(NamedTuple):
    """One record as read."""

    offset: int
    events: int
    timestamp: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + self.events


class Segment:
    """One file. ``end``: the offset after its last event; ``size``: bytes up to there; ``payload``: those of events."""

    __slots__ = ("base", "end", "path", "payload", "size")

    def __init__(self, path: Path, base: int) -> None:
        self.path = path
        self.base = base
        self.end = base
        self.size = 0
        self.payload = 0


def frame(offset: int, events: int, timestamp: int, payload: bytes) -> bytes:
    """A record as it stands in the file."""
    meta = _META.pack(offset, events, timestamp)
    return _HEAD.pack(_MARKER, len(payload), crc32(payload, crc32(meta))) + meta + payload


class SegmentReader:
    """Reads the records of one segment in order, in blocks.

    ``position``: the byte at which the next record begins. ``offset``: the offset it must have; None for any.
    """

    def __init__(self, files: Files, fd: int, segment: Segment) -> None:
        self._files = files
        self._fd = fd
        self._path = segment.path
        self._block = b""
        self._block_at = 0
        self.position = 0
        self.offset: int | None = segment.base

    def begin(self, end: int) -> None:
        """Check the magic number and go to the first record."""
        if self._files.read_at(self._fd, len(MAGIC), 0) != MAGIC:
            raise Corrupt(self._path, 0, torn=end < len(MAGIC))
        self.position = len(MAGIC)

    def _bytes(self, size: int, end: int) -> tuple[bytes, int]:
        """A buffer that holds ``size`` bytes from ``position``, and where they begin in it; never read past ``end``."""
        start = self.position - self._block_at
        if start < 0 or start + size > len(self._block):
            wanted = min(max(size, _BLOCK), end - self.position)
            self._block = self._files.read_at(self._fd, wanted, self.position)
            self._block_at, start = self.position, 0
        return self._block, start

    def read(self, end: int) -> Stored | None:
        """The next record of a file that has ``end`` valid bytes; None if that is all. ``Corrupt`` if it is none."""
        position = self.position
        if position >= end:
            return None
        block, start = self._bytes(HEADER, end)
        if start + HEADER > len(block):
            raise Corrupt(self._path, position, torn=True)
        marker, length, crc = _HEAD.unpack_from(block, start)
        if marker != _MARKER or position + HEADER + length > end:
            # a record that claims more than there is: torn, or its length is damaged
            raise Corrupt(self._path, position, torn=marker == _MARKER)
        block, start = self._bytes(HEADER + length, end)
        body = memoryview(block)[start + _HEAD.size : start + HEADER + length]
        if len(body) != _META.size + length or crc32(body) != crc:
            raise Corrupt(self._path, position, torn=False)
        offset, events, timestamp = _META.unpack_from(body)
        if self.offset is not None:
            if offset != self.offset:
                raise Corrupt(self._path, position, torn=False)
            self.offset = offset + events
        self.position = position + HEADER + length
        return Stored(offset, events, timestamp, bytes(body[_META.size :]))

    def last_valid_end(self, end: int) -> int | None:
        """After a bad record: the highest offset after a valid record further on, or None if there is none."""
        self.offset = None
        highest = None
        while self._to_next_marker(end):
            try:
                while record := self.read(end):
                    highest = max(highest or 0, record.end)
            except Corrupt:
                continue
        return highest

    def _to_next_marker(self, end: int) -> bool:
        data = self._files.read_at(self._fd, max(end - self.position, 0), self.position)
        found = data.find(_MARKER_BYTES, 1)
        self.position += max(found, 0)
        return found > 0

"""A series of segments: append at the end, read from anywhere, remove from the front. Knows nothing of asyncio."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from pathlib import Path

from headrace.stream.files import Files
from headrace.stream.offsets import Settled, gaps
from headrace.stream.segments import HEADER, MAGIC, Corrupt, Segment, SegmentReader, Stored, frame

__all__ = ["SUFFIX", "Entry", "Lost", "Reader", "Series"]

SUFFIX = ".log"

_log = logging.getLogger("headrace.stream")


class Entry:
    """A record to be appended: ``payload`` encodes ``count`` events. The append says where it stands."""

    __slots__ = ("count", "offset", "payload", "position", "segment", "timestamp")

    segment: Segment

    def __init__(self, payload: bytes, count: int, timestamp: int) -> None:
        self.payload = payload
        self.count = count
        self.timestamp = timestamp
        self.offset = -1
        self.position = -1


class Series:
    """The segments of one topic in ``directory``. ``next`` is the offset the next event gets; none is given twice."""

    def __init__(self, files: Files, directory: Path, *, sync: bool = False) -> None:
        self._files = files
        self._directory = directory
        self._sync = sync
        self.segment_bytes = 64 << 20
        self.segments: list[Segment] = []
        self.next = 0
        self._active = -1  # file descriptor of the last segment, while it takes appends
        self._damaged = False  # the active segment may be longer than its records
        self._sealed = False  # the active segment takes no more

    def close(self) -> None:
        if self._active >= 0:
            self._files.close(self._active)
            self._active = -1

    # -- appending

    def append(self, entries: Sequence[Entry]) -> tuple[int, OSError | None]:
        """Write the entries; returns how many are stored, and why the rest are not.

        What is not stored leaves no trace: the file is cut back to its last whole record, now or before the next
        append.
        """
        stored = 0
        try:
            if self._damaged:
                self._repair()
            while stored < len(entries):
                stored += self._append_some(entries, stored)
        except OSError as exc:
            try:
                self._repair()
            except OSError as again:
                _log.debug("%s: cannot cut back yet: %s", self._directory, again)
            return stored, exc
        return stored, None

    def _append_some(self, entries: Sequence[Entry], first: int) -> int:
        """As many entries as go into one segment, in one write."""
        segment = self.segments[-1] if self._active >= 0 else self._roll()
        full = segment.size + HEADER + len(entries[first].payload) > self.segment_bytes
        if segment.size and (full or self._sealed):
            segment = self._roll()
        size, offset = segment.size, self.next
        frames = [] if size else [MAGIC]
        size = size or len(MAGIC)
        count = 0
        for entry in entries[first:]:
            needed = HEADER + len(entry.payload)
            if count and size + needed > self.segment_bytes:
                break
            entry.offset, entry.segment, entry.position = offset, segment, size
            frames.append(frame(offset, entry.count, entry.timestamp, entry.payload))
            offset += entry.count
            size += needed
            count += 1
        self._write(segment, b"".join(frames))
        segment.payload += sum([len(entry.payload) for entry in entries[first : first + count]])
        segment.end = self.next = offset
        return count

    def _write(self, segment: Segment, data: bytes) -> None:
        self._damaged = True
        written = self._files.write_at(self._active, data, segment.size)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were written")
        if self._sync:
            self._files.sync(self._active)
            if not segment.size:
                self._files.sync_directory(self._directory)
        self._damaged = False
        segment.size += len(data)

    def _roll(self) -> Segment:
        """Begin a new segment; a new process begins one too, so that only this process ever writes to it."""
        path = self._directory / f"{self.next:020d}{SUFFIX}"
        fd = self._files.open(path)
        self.close()
        self._active, self._sealed = fd, False
        segment = Segment(path, self.next)
        self.segments.append(segment)
        self._damaged = True  # there may be a file of this name with an aborted write
        self._repair()
        return segment

    def seal(self) -> None:
        """Let the next append begin a new segment."""
        self._sealed = True

    def _repair(self) -> None:
        if self._active >= 0 and self._damaged:
            self._files.truncate(self._active, self.segments[-1].size)
            self._damaged = False

    # -- removing

    def closed(self) -> list[Segment]:
        """The segments that take no more appends, oldest first."""
        return self.segments[:-1] if self._active >= 0 else self.segments[:]

    def removable(self, low: int) -> list[Segment]:
        """The closed segments of which every event is before ``low``."""
        return [segment for segment in self.closed() if segment.end <= low]

    def remove(self, segments: Sequence[Segment]) -> None:
        """Delete the first segments."""
        for segment in segments:
            self._files.remove(segment.path)
            self.segments.remove(segment)

    # -- after a restart

    def _paths(self) -> list[Path]:
        children = self._files.children(self._directory)
        return [path for path in children if path.suffix == SUFFIX and path.stem.isdigit()]

    def first_offset(self) -> int:
        """Where the oldest segment begins; 0 if there is none."""
        return next((int(path.stem) for path in self._paths()), 0)

    def recover(self, settled: Settled) -> tuple[int, int]:
        """Find the records on disk. Returns the bytes not settled yet, and the number of events lost to corruption.

        Afterwards every offset below ``next`` is settled or readable: those lost are added to ``settled``.
        """
        unsettled_bytes = 0
        end = settled.high
        paths = [
            path for path in self._files.children(self._directory) if path.suffix == SUFFIX and path.stem.isdigit()
        ]
        for path in paths:
            segment = Segment(path, int(path.stem))
            found, seen = self._scan(segment, settled, last=path is paths[-1])
            unsettled_bytes += found
            end = max(end, seen)
            if segment.end > segment.base:
                self.segments.append(segment)
            else:
                self._files.remove(path)
        self.next = end
        lost = 0
        for start, stop in gaps(settled.low, end, [(segment.base, segment.end) for segment in self.segments]):
            for first, last in settled.missing(start, stop):
                lost += last - first
                settled.add(first, last)
        return unsettled_bytes, lost

    def _scan(self, segment: Segment, settled: Settled, *, last: bool) -> tuple[int, int]:
        """Check each record of a segment; returns its unsettled bytes and the offset after the last one seen."""
        unsettled = 0
        fd = self._files.open(segment.path)
        try:
            size = self._files.size(fd)
            reader = SegmentReader(self._files, fd, segment)
            try:
                reader.begin(size)
                while record := reader.read(size):
                    left = sum(stop - start for start, stop in settled.missing(record.offset, record.end))
                    unsettled += len(record.payload) * left // record.events
                    segment.payload += len(record.payload)
                    segment.end, segment.size = record.end, reader.position
            except Corrupt as exc:
                return unsettled, self._cut(segment, fd, reader, exc, last=last)
            return unsettled, segment.end
        finally:
            self._files.close(fd)

    def _cut(self, segment: Segment, fd: int, reader: SegmentReader, exc: Corrupt, *, last: bool) -> int:
        """End a segment before a bad record. A torn write at the end of the log goes, anything else is put aside."""
        size = self._files.size(fd)
        seen = segment.end
        if last:
            further = reader.last_valid_end(size)
            if further is None and exc.torn:
                self._files.truncate(fd, segment.size)
                return seen
            seen = max(seen + 1, further or 0)  # how many events were in it cannot be told: at least one
        aside = segment.path.with_suffix(f".{exc.position}.corrupt")
        _log.error("%s; the rest of this segment (%d bytes) is kept as %s", exc, size - exc.position, aside.name)
        try:
            self._put_aside(fd, exc.position, size, aside)
            self._files.truncate(fd, segment.size)
        except OSError as error:
            _log.error("%s could not be put aside: %s; it stays where it is", segment.path, error)
        return seen

    def _put_aside(self, fd: int, start: int, end: int, path: Path) -> None:
        target = self._files.open(path)
        try:
            for at in range(start, end, 1 << 20):
                data = self._files.read_at(fd, min(1 << 20, end - at), at)
                if self._files.write_at(target, data, at - start) != len(data):
                    raise OSError(errno.ENOSPC, "short write")
        finally:
            self._files.close(target)


class Lost(Exception):
    """The records that hold the events ``start`` to before ``end`` (about ``size`` bytes) cannot be read any more."""

    def __init__(self, start: int, end: int, size: int, cause: Corrupt) -> None:
        super().__init__(str(cause))
        self.start = start
        self.end = end
        self.size = size
        self.ranges: list[tuple[int, int]] = []  # what of it was unsettled, as far as the reader's user knows


class Reader:
    """Reads the records of a series in order, across its segments. ``offset``: the next event it will give."""

    def __init__(self, series: Series, files: Files) -> None:
        self._series = series
        self._files = files
        self.offset = 0
        self._segment: Segment | None = None
        self._reader: SegmentReader | None = None
        self._fd = -1
        self._entry: Entry | None = None

    def close(self) -> None:
        if self._fd >= 0:
            self._files.close(self._fd)
        self._segment, self._reader, self._fd = None, None, -1

    def seek(self, offset: int) -> None:
        """Go on with the record that holds ``offset``."""
        self.close()
        self.offset, self._entry = offset, None

    def seek_entry(self, entry: Entry) -> None:
        """Go on with an entry that was appended (found at once, without reading the segment up to it)."""
        self.seek(entry.offset)
        self._entry = entry

    def read(self, limit: int) -> Stored | None:
        """The next record that begins before offset ``limit``, or None. ``Lost`` if some are damaged (then go on)."""
        while self.offset < limit:
            segment, reader = self._segment, self._reader
            if segment is None or reader is None:
                if not self._enter():
                    return None
                continue
            try:
                if not reader.position:
                    reader.begin(segment.size)
                record = reader.read(segment.size)
            except Corrupt as exc:
                self._series.seal()
                start, self.offset = self.offset, segment.end
                self.close()
                raise Lost(start, segment.end, segment.size - exc.position, exc) from exc
            if record is None:
                self.close()
            elif record.end > self.offset:
                self.offset = record.end
                return record
        return None

    def _enter(self) -> bool:
        """Open the segment that holds ``offset``, or the next one there is."""
        for segment in list(self._series.segments):
            if segment.end > self.offset:
                self._fd = self._files.open_to_read(segment.path)
                self._segment, self._reader = segment, SegmentReader(self._files, self._fd, segment)
                entry, self._entry = self._entry, None
                if entry and entry.segment is segment:
                    self._reader.position, self._reader.offset = entry.position, entry.offset
                self.offset = max(self.offset, segment.base)
                return True
        return False

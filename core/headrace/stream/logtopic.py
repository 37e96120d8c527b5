"""One topic of the embedded log: what is sent, read and settled. Runs on the event loop; ``Log`` does the writing."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import StreamError, StreamFull
from headrace.events import Event, decode
from headrace.stream.backlog import Backlog, Unread
from headrace.stream.job import Job
from headrace.stream.kept import Kept, read_kept
from headrace.stream.offsets import OffsetsFile, Settled
from headrace.stream.series import Lost, Series
from headrace.stream.topic import Message, Record, Topic, TopicOptions

if TYPE_CHECKING:
    from headrace.stream.log import Log

__all__ = ["LogRecord", "LogTopic"]

_MOST_SEGMENT, _LEAST_SEGMENT = 64 << 20, 64 << 10


class LogRecord(Record):
    """One message of the log; ``left`` of its events are unsettled.

    What is settled after its consumer was replaced does not count: the new one was given it again.
    """

    __slots__ = ("_count", "_epoch", "_once", "_topic", "left", "offset")

    def __init__(self, topic: LogTopic, unread: Unread, events: Sequence[Event]) -> None:
        super().__init__(events, unread.settled, unread.size)
        self.offset = unread.offset
        self._topic = topic
        self._epoch = topic.epoch
        self._count = unread.number
        self._once = bytearray(unread.number)  # which were settled here
        self.left = unread.left

    def settle(self, *indexes: int) -> None:
        topic, once = self._topic, self._once
        if self._epoch != topic.epoch:
            return
        start = end = 0  # neighbours go as one range
        for index in indexes if len(indexes) == 1 else sorted(indexes):
            if once[index] or self.left == end - start:
                topic.log.logger.error("%s: event %d is settled already", topic.name, self.offset + index)
                continue
            if index != end:
                self._settle_range(start, end)
                start = index
            once[index] = 1
            end = index + 1
        self._settle_range(start, end)

    def _settle_range(self, start: int, end: int) -> None:
        if start < end:
            self._topic.settle(self.offset + start, self.offset + end, self._take(end - start))

    def settle_all(self) -> None:
        topic = self._topic
        if self._epoch != topic.epoch:
            return
        end = self.offset + self._count
        if self.left == self._count:
            topic.settle(self.offset, end, self._take(self._count))
        elif self.left:
            for index in range(self._count):
                if index not in self.settled and not self._once[index]:
                    self.settle(index)
        else:
            topic.log.logger.error("%s: the events %d to %d are settled already", topic.name, self.offset, end - 1)

    def _take(self, events: int) -> int:
        """The bytes these events give back. In all they are those of the record, whatever the order."""
        size, count, left = self.size, self._count, self.left
        self.left = left - events
        return size * left // count - size * (left - events) // count


class LogTopic(Topic):
    """A topic with its files, made by ``Log``. ``attached``: somebody opened it; ``reading``: it has a consumer."""

    def __init__(self, log: Log, name: str, directory: Path) -> None:
        super().__init__(name, TopicOptions(max_bytes=0))
        self.log = log
        self.directory = directory
        self.series = Series(log.files, directory, sync=log.sync)
        self.offsets: OffsetsFile
        self.settled = Settled()
        self.attached = False
        self.deleted = False
        self.epoch = 0
        self.backlog = Backlog(self.series, log.files)
        self._pending: list[Message] = []
        self._due = False
        self._commit_due = False
        self._visible = 0  # the end of what readers may see
        self._settling: asyncio.Future[None] | None = None
        self._outstanding: deque[tuple[int, int]] = deque()  # end and timestamp of records handed over
        self._wake_consumer: Callable[[], None] = _nobody

    # -- opening and closing

    def recover(self) -> None:
        """Read what is on disk. Called once, before anything else; may run on another thread."""
        self.log.files.make_directory(self.directory)
        self.offsets = OffsetsFile(self.log.files, self.directory / "offsets")
        found = self.offsets.load()
        self.settled = found or Settled(self.series.first_offset())
        self.unsettled_bytes, self.corrupt = self.series.recover(self.settled)
        self._visible = self.series.next
        beyond = sum(end - start for start, end in self.settled.ranges())
        self.unsettled = self.recovered = self.series.next - self.settled.low - beyond
        if found is None and self.unsettled:
            self.log.logger.error(
                "%s: no valid commit record; all %d events on disk are delivered again", self.name, self.unsettled
            )
        if self.corrupt:
            self.log.logger.error("%s: %d events were lost to damaged files", self.name, self.corrupt)
        self._rewind()
        self._commit_due = True
        job = self.flush_job()
        job.run()
        self._commit_due = job.commit_error is not None

    def attach(self, options: TopicOptions) -> None:
        """Take up the topic with these options."""
        self.options = options
        self.attached = True
        self.series.segment_bytes = max(_LEAST_SEGMENT, min(_MOST_SEGMENT, options.max_bytes // 8))
        self.wake()

    def close(self) -> bool:
        """Let go of the files; those that hold nothing unsettled are removed. False: the last commit is not on disk."""
        self.stop_reading()
        self.backlog.close()
        self.series.close()
        if not self._commit_due:
            with suppress(OSError):  # the next start removes them
                self.series.remove(self.series.removable(self.settled.low))
        self.offsets.close()
        return not self._commit_due

    def delete(self) -> None:
        """Close, and remove everything there is of this topic."""
        self.deleted = True
        self._failed(self.flush_job().messages, OSError(errno.ENOENT, "the topic was deleted"))
        self.dropped(self.unsettled)
        self.backlog.close()
        self.series.close()
        self.offsets.close()
        for path in self.log.files.children(self.directory):
            self.log.files.remove(path)
        self.log.files.remove_directory(self.directory)

    def retry(self) -> None:
        """After a failed write: write again what is due, and let senders look again."""
        self.schedule_commit()
        self.wake()

    # -- sending

    def has_room(self) -> bool:
        if self.log.low_disk:
            return False
        return self.unsettled_bytes < self.options.max_bytes or not self.options.consumed

    def _store(self, parts: Sequence[Message], call: asyncio.Future[None]) -> None:
        for part in parts:
            part.call = call
        self._pending += parts
        self._schedule()

    def _closed(self) -> str:
        return "the stream is closed" if self.log.closed else "the topic is deleted" if self.deleted else ""

    def _blocked(self) -> str:
        return self.log.low_disk

    def _admit(self, call: asyncio.Future[None], size: int, events: Sequence[Event]) -> bool:
        if not self.options.consumed:
            self._drop_segments(size)
        return super()._admit(call, size, events)

    def _drop_oldest(self, size: int) -> None:
        """First what the engine holds, which is older, then what nobody has read."""
        allowed = self.options.max_bytes - size
        if self.on_full and self.unsettled_bytes > allowed:
            self.on_full(self.unsettled_bytes - allowed)
        gone: list[Event] = []
        with suppress(OSError):  # what cannot be read now cannot be dropped now
            while self.unsettled_bytes > allowed and (record := self.take()):
                gone += [event for i, event in enumerate(record.events) if i not in record.settled]
                record.settle_all()
        self.dropped(len(gone), gone)

    def _drop_segments(self, size: int) -> None:
        """Nobody consumes this topic: its oldest files go when the new events do not fit."""
        count = 0
        for segment in self.series.closed():
            if self.unsettled_bytes + size <= self.options.max_bytes:
                break
            each = segment.payload // (segment.end - segment.base)
            for start, end in self.settled.missing(max(segment.base, self.settled.low), segment.end):
                count += end - start
                self.settle(start, end, each * (end - start))
        self.dropped(count)

    # -- a topic that nobody consumes

    def kept(self) -> Iterator[Kept]:
        settled = Settled(self.settled.low, list(self.settled.ranges()))
        return read_kept(self.log.files, self.directory, settled)

    def discard(self, kept: Kept) -> bool:
        start, end, size = kept.offset, kept.offset + 1, kept.size
        if self.deleted or not self.settled.missing(start, end):
            return False
        self.settle(start, end, min(size, self.unsettled_bytes))
        return True

    # -- flushing; called by Log

    def schedule_commit(self) -> None:
        """Commit at the end of this turn of the loop, if a flush has not done it meanwhile."""
        if self._commit_due:
            self._schedule()

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            self.log.schedule(self)

    def flush_job(self) -> Job:
        """What is to be written now."""
        pending, self._pending = self._pending, []
        commit = self.offsets.encode(self.settled) if self._commit_due and not self.deleted else None
        self._due = self._commit_due = False
        return Job(self, pending, commit, self.settled.low)

    def finish(self, job: Job) -> None:
        """Take in what a job did: readers see the new records, callers learn whether they are stored."""
        for message in job.messages[: job.stored]:
            self._visible = message.offset + message.count
            self.backlog.push(message)
        if failed := job.messages[job.stored :]:
            self._failed(failed, job.error or OSError(errno.EIO, "the write was not made"))
        for message in job.messages:
            if not message.call.done():
                message.call.set_result(None)
        if job.commit_error:
            self._commit_due = True
        low = self.settled.low
        while self._outstanding and self._outstanding[0][0] <= low:
            self._outstanding.popleft()
        if not self.unsettled:
            self.unsettled_bytes = 0  # after damage it was an estimate
        self.wake()
        if self._settling and not self._settling.done():
            self._settling.set_result(None)
        if job.stored:
            self._wake_consumer()

    def _failed(self, failed: list[Message], cause: OSError) -> None:
        text = f"{self.name}: {cause.strerror or cause}"
        full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
        for message in failed:
            self.unsettled -= message.count
            self.unsettled_bytes -= len(message.payload)
            if not message.call.done():
                message.call.set_exception(StreamFull(text) if full else StreamError(text))

    # -- reading; called by the consumer

    def start_reading(self, wake: Callable[[], None]) -> None:
        """Begin with the oldest unsettled record. ``wake`` is called when there is more to take."""
        self.epoch += 1
        self.reading = True
        self._wake_consumer = wake
        self._rewind()

    def stop_reading(self) -> None:
        """Nothing more is taken; what was taken may still be settled."""
        self._wake_consumer = _nobody
        self.reading = False

    @property
    def orphan(self) -> bool:
        """It holds events, and nobody is there to take them."""
        return bool(self.unsettled) and not self.reading and (self.options.consumed or not self.attached)

    def _rewind(self) -> None:
        self._outstanding.clear()
        self.backlog.rewind(self.settled, self._visible, tail=self.reading)

    def take(self) -> LogRecord | None:
        """The next record with something unsettled in it; None when there is none yet. ``OSError`` if reading fails."""
        while unread := self._pop():
            events = unread.events
            if events is None:
                events = self._decode(unread)
            record = LogRecord(self, unread, events or ())
            if events is not None:
                self._outstanding.append((unread.offset + unread.number, unread.timestamp))
                return record
            self.corrupt += unread.left
            record.settle_all()
        return None

    def _pop(self) -> Unread | None:
        while True:
            try:
                return self.backlog.pop()
            except Lost as lost:
                last = lost.end - 1
                self.log.logger.error("%s: events %d to %d cannot be read: %s", self.name, lost.start, last, lost)
                for start, end in lost.ranges:
                    self.corrupt += end - start
                    self.settle(start, end, min(lost.size, self.unsettled_bytes))
                    lost.size = 0  # an estimate for all of them

    def _decode(self, unread: Unread) -> Sequence[Event] | None:
        try:
            events = decode(unread.payload)
            if len(events) == unread.number:
                return events
            problem: object = f"{len(events)} events instead of {unread.number}"
        except (ValueError, TypeError) as exc:
            problem = exc
        self.log.logger.error("%s: the record at offset %d cannot be decoded: %s", self.name, unread.offset, problem)
        return None

    # -- settling

    def settle(self, start: int, end: int, size: int) -> None:
        """The events from ``start`` to before ``end`` need nothing more; ``size`` is what they held."""
        self.settled.add(start, end)
        self.unsettled -= end - start
        self.unsettled_bytes -= size
        if not self._commit_due:
            self._commit_due = True
            self.log.commit_soon(self)

    @property
    def held(self) -> int:
        return self.unsettled - self.unread - sum([message.count for message in self._pending])

    @property
    def unread(self) -> int:
        return self.backlog.events

    async def until_settled(self) -> None:
        while self.held or self._due or self._commit_due:
            self._settling = asyncio.get_running_loop().create_future()
            await self._settling

    def faust_app(self, group: str) -> Any:
        from headrace.stream.transport import EmbeddedApp  # Faust takes 0.3 s to import; not every command needs it

        return EmbeddedApp(self, group)

    @property
    def oldest(self) -> int | None:
        for end, timestamp in self._outstanding:
            if end > self.settled.low:
                return timestamp
        if not self.options.consumed:
            self._rewind()
        try:
            unread = self._pop()
        except OSError:
            return None
        if unread:
            self.backlog.put_back(unread)
            return unread.timestamp
        return self._pending[0].timestamp if self._pending else None


def _nobody() -> None:
    """Nobody reads this topic."""

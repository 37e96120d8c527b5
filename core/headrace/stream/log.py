"""The embedded log: one directory, one process, one group commit per turn of the event loop."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

from headrace.errors import StreamError
from headrace.stream.files import Files
from headrace.stream.job import Job
from headrace.stream.kept import topic_directory
from headrace.stream.logtopic import LogTopic
from headrace.stream.topic import TopicOptions
from headrace.units import format_size, rough_size

__all__ = ["Log"]

_CHECK_DISK_EVERY = 4 << 20
_RETRY = 0.5
_COMMIT_EVERY = 0.005  # what settles one by one is committed together; a kill repeats so much more at most


class Log:
    """All topics of one stream. ``low_disk``: why nothing may be appended for now, or ""."""

    def __init__(
        self, directory: Path, logger: logging.Logger, *, files: Files, sync: bool = False, min_free: int = 0
    ) -> None:
        self.files = files
        self.directory = directory
        self.logger = logger
        self.sync = sync
        self.topics: dict[str, LogTopic] = {}
        self.closed = True
        self.low_disk = ""
        self._min_free = min_free
        self._complaint = ""  # said already
        self._unchecked = 0  # bytes written since the disk was looked at
        self._due: list[LogTopic] = []
        self._scheduled = False
        self._writer: ThreadPoolExecutor | None = None
        self._writing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._uncommitted: list[LogTopic] = []
        self._lock = -1

    # -- opening and closing

    async def open(self) -> None:
        """Take the directory, and find the topics in it."""
        self._loop = asyncio.get_running_loop()
        try:
            self.files.make_directory(self.directory)
            self._lock = self.files.lock(self.directory / "lock")
            await asyncio.to_thread(self._recover)
        except OSError as exc:
            self._release()
            raise StreamError(f"{self.directory}: {exc.strerror or exc}") from exc
        if self.sync:
            self._writer = ThreadPoolExecutor(1, "headrace-log")
        self.closed = False
        self._check_disk()

    def _recover(self) -> None:
        for path in self.files.children(self.directory / "topics"):
            name = unquote(path.name)
            topic = LogTopic(self, name, path)
            topic.recover()
            self.topics[name] = topic

    async def topic(self, name: str, options: TopicOptions) -> LogTopic:
        """The topic of this name, made if it is not there."""
        topic = self.topics.get(name)
        if topic is None:
            topic = LogTopic(self, name, topic_directory(self.directory, name))
            try:
                topic.recover()
            except OSError as exc:
                raise StreamError(f"{topic.directory}: {exc.strerror or exc}") from exc
            self.topics[name] = topic
        topic.attach(options)
        return topic

    async def close(self) -> None:
        """Write what is left, commit, and let go of the directory. ``StreamError`` if something was not written."""
        if self.closed:
            return
        self.closed = True
        while self._writing:
            await self._writing
        self._flush_here(list(self.topics.values()))
        failed = [topic.name for topic in self.topics.values() if not topic.close()]
        self._release()
        if failed:
            raise StreamError(f"{self.directory}: the last commit of {', '.join(failed)} could not be written")

    def _release(self) -> None:
        self.closed = True
        if self._timer:
            self._timer.cancel()
        if self._writer:
            self._writer.shutdown(wait=False)
        if self._lock >= 0:
            self.files.close(self._lock)
            self._lock = -1

    def trouble(self) -> str:
        """Why nothing can be stored for now, whatever the topic; or \"\"."""
        return f"{self.directory}: {self.low_disk}" if self.low_disk else ""

    # -- orphans

    def orphans(self) -> dict[str, tuple[int, int]]:
        """Topics with a backlog and without a consumer: name → events and bytes."""
        return {name: (topic.unsettled, topic.unsettled_bytes) for name, topic in self.topics.items() if topic.orphan}

    async def purge(self, name: str) -> None:
        """Delete a topic nobody consumes."""
        while self._writing:
            await self._writing
        topic = self.topics.get(name)
        if topic is None or topic.reading:
            raise StreamError(f"{name}: {'it is in use' if topic else 'there is no such topic'}")
        del self.topics[name]
        try:
            topic.delete()
        except OSError as exc:
            raise StreamError(f"{topic.directory}: {exc.strerror or exc}") from exc

    # -- the group commit

    def schedule(self, topic: LogTopic) -> None:
        """Write what ``topic`` has at the end of this turn of the loop, together with what others have by then."""
        self._due.append(topic)
        if not self._scheduled and self._writing is None:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def commit_soon(self, topic: LogTopic) -> None:
        """Commit what ``topic`` has settled within a few milliseconds: with what it writes, or else alone."""
        if not self._uncommitted:
            self._loop.call_later(_COMMIT_EVERY, self._commit)
        self._uncommitted.append(topic)

    def _commit(self) -> None:
        topics, self._uncommitted = self._uncommitted, []
        for topic in topics:
            topic.schedule_commit()

    def _flush(self) -> None:
        self._scheduled = False
        due, self._due = self._due, []
        if not due or self.closed:
            return
        if self._writer is None:
            self._flush_here(due)
            return
        jobs = [topic.flush_job() for topic in due]
        self._writing = self._loop.run_in_executor(self._writer, _run, jobs)
        self._writing.add_done_callback(lambda _: self._written(jobs))

    def _flush_here(self, topics: list[LogTopic]) -> None:
        jobs = [topic.flush_job() for topic in topics]
        _run(jobs)
        self._finish(jobs)

    def _written(self, jobs: list[Job]) -> None:
        self._writing = None
        self._finish(jobs)
        if self._due and not self._scheduled and not self.closed:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _finish(self, jobs: list[Job]) -> None:
        for job in jobs:
            error = job.error or job.commit_error
            if error:
                self._trouble(job.topic, error)
            elif self._complaint and job.stored:
                self._complaint = ""
                self.logger.warning("%s can be written again", self.directory)
            job.topic.finish(job)
            self._unchecked += job.size
        if self._unchecked > _CHECK_DISK_EVERY:
            self._check_disk()

    # -- the disk

    def _trouble(self, topic: LogTopic, error: OSError) -> None:
        """A write failed: take nothing for a moment, then look again."""
        self.low_disk = f"the disk: {error.strerror or error}"
        if self._complaint != self.low_disk:
            self._complaint = self.low_disk
            self.logger.error("%s cannot be written: %s", topic.directory, error.strerror or error)
        self._look_again()

    def _check_disk(self) -> None:
        """Hold everybody while there is less free space than asked for, and look again soon."""
        self._unchecked = 0
        try:
            free = self.files.free(self.directory)
        except OSError as exc:
            self.low_disk = f"the disk: {exc.strerror or exc}"
        else:
            was, self.low_disk = self.low_disk, ""
            if free < self._min_free:
                self.low_disk = (
                    f"only {rough_size(free)} are free on the disk, min_free_disk is {format_size(self._min_free)}"
                )
                if not was:
                    self.logger.warning("%s: %s; nothing more is taken in", self.directory, self.low_disk)
        if self.low_disk:
            self._look_again()

    def _look_again(self) -> None:
        if self._timer is None and not self.closed:
            self._timer = self._loop.call_later(_RETRY, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._check_disk()
        for topic in self.topics.values():
            topic.retry()


def _run(jobs: list[Job]) -> None:
    for job in jobs:
        job.run()

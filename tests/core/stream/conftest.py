"""What the tests of the stream layer share."""

from __future__ import annotations

import asyncio
import errno
import logging
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.config.model import StreamOptions
from headrace.events import Event
from headrace.stream import Record, Stream, TopicOptions
from headrace.stream.files import MemoryFiles
from headrace.stream.log import Log
from headrace.stream.logtopic import LogTopic

DIRECTORY = Path("/log")


class FaultyFiles(MemoryFiles):
    """Fails once ``budget`` bytes were written (other changes count as one byte).

    ``fault``: ``cut`` (the process dies: nothing is written any more), ``short``, or the errno of one failure.
    """

    def __init__(self, budget: int = 1 << 40, fault: str | int = "cut") -> None:
        super().__init__()
        self.budget = budget
        self.fault = fault
        self.written = 0
        self.failed = False

    def after_death(self) -> FaultyFiles:
        """What the next process finds."""
        copy = FaultyFiles()
        copy._contents = {path: bytearray(data) for path, data in self._contents.items()}
        return copy

    def _spend(self, cost: int) -> int:
        """How much of it is done; raises if nothing is."""
        left = self.budget - self.written
        if self.failed and self.fault == "cut":
            raise OSError(errno.EIO, "dead")
        if self.failed or cost <= left:
            self.written += cost
            return cost
        self.failed = True
        if left <= 0 or cost == 1:
            raise OSError(self.fault if isinstance(self.fault, int) else errno.EIO, "injected")
        return left

    def open(self, path: Path) -> int:
        if path not in self._contents:
            self._spend(1)
        return super().open(path)

    def write_at(self, fd: int, data: bytes, position: int) -> int:
        done = self._spend(len(data) if any(data) else 1)
        if not any(data) or done == len(data):
            return super().write_at(fd, data, position)
        super().write_at(fd, data[:done], position)
        if isinstance(self.fault, int):
            raise OSError(self.fault, "injected")
        return done

    def truncate(self, fd: int, size: int) -> None:
        self._spend(1)
        super().truncate(fd, size)

    def remove(self, path: Path) -> None:
        self._spend(1)
        super().remove(path)


class PowerCutFiles(MemoryFiles):
    """Knows what would be left after a power cut: what was synced, in directories that were synced."""

    def __init__(self) -> None:
        super().__init__()
        self.durable: dict[Path, bytes] = {}
        self.synced: dict[int, bytes] = {}

    def sync(self, fd: int) -> None:
        data = self._open[fd]
        self.synced[id(data)] = bytes(data)
        path = next(path for path, content in self._contents.items() if content is data)
        if path in self.durable:
            self.durable[path] = bytes(data)

    def sync_directory(self, path: Path) -> None:
        self.durable = {known: data for known, data in self.durable.items() if known.parent != path}
        for known, data in self._contents.items():
            if known.parent == path:
                self.durable[known] = self.synced.get(id(data), b"")

    def write_back(self) -> None:
        """The kernel wrote everything, as it does from time to time."""
        self.durable = {path: bytes(data) for path, data in self._contents.items()}

    def after_power_cut(self) -> MemoryFiles:
        left = MemoryFiles()
        left._contents = {path: bytearray(data) for path, data in self.durable.items()}
        return left


class Collector:
    """A handler that keeps what it was given. ``settle``: which event numbers to settle (default: all)."""

    def __init__(self, settle: Callable[[int], bool] = lambda n: True) -> None:
        self.records: list[Record] = []
        self.settle = settle

    async def __call__(self, record: Record) -> None:
        self.records.append(record)
        for index, event in enumerate(record.events):
            if index not in record.settled and self.settle(event["n"]):
                record.settle(index)

    @property
    def events(self) -> list[Event]:
        """Those not settled before, in order of arrival."""
        return [e for record in self.records for i, e in enumerate(record.events) if i not in record.settled]

    @property
    def numbers(self) -> list[int]:
        return [event["n"] for event in self.events]


@pytest.fixture
def make() -> Callable[..., list[Event]]:
    def events(*numbers: int, **columns: Any) -> list[Event]:
        return [Event({"n": number, **columns}, key=f"k{number % 7}", timestamp=1000 + number) for number in numbers]

    return events


@pytest.fixture
def faulty() -> type[FaultyFiles]:
    return FaultyFiles


@pytest.fixture
def power_cut_files() -> PowerCutFiles:
    return PowerCutFiles()


@pytest.fixture
async def open_topic() -> AsyncIterator[Callable[..., Awaitable[LogTopic]]]:
    """Opens a log on the given files, and one topic of it, without Faust."""
    logs: list[Log] = []

    async def open_one(files: MemoryFiles, *, segment_bytes: int = 0, options: Any = None, **kwargs: Any) -> LogTopic:
        log = Log(DIRECTORY, logging.getLogger("test"), files=files, **kwargs)
        await log.open()
        logs.append(log)
        topic = await log.topic("t", options or TopicOptions(max_bytes=1 << 20))
        topic.series.segment_bytes = segment_bytes or topic.series.segment_bytes
        return topic

    yield open_one
    for log in logs:
        await log.close()


@pytest.fixture
def collector() -> type[Collector]:
    return Collector


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    async def wait(true: Callable[[], Any], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.002)

    return wait


@pytest.fixture
async def open_stream(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Stream]]]:
    """Opens streams in one directory (``directory=None``: in memory), one after the other; closes what is left open."""
    opened: list[Stream] = []

    async def open_one(directory: Path | None = tmp_path / "log", **options: Any) -> Stream:
        options.setdefault("min_free_disk", 0)
        stream = Stream(StreamOptions(**options), name="test", directory=directory, log=logging.getLogger("test"))
        await stream.open()
        opened.append(stream)
        return stream

    yield open_one
    for stream in opened:
        await stream.close(0)


def some_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    return some_port()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Kafka broker in memory."""
    if not shutil.which("go"):
        pytest.skip("NO KAFKA TEST WAS RUN: the broker needs the Go toolchain, and there is no 'go' on PATH")
    source = Path(__file__).parents[2] / "kafka" / "kfake"
    binary = tmp_path_factory.mktemp("kfake") / "kfake"
    subprocess.run(["go", "build", "-o", binary, "."], cwd=source, check=True, timeout=300)
    port = some_port()
    broker = subprocess.Popen([binary, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the broker did not start"
                time.sleep(0.05)
        yield f"kafka://127.0.0.1:{port}"
    finally:
        broker.kill()
        broker.wait()


@pytest.fixture
async def open_kafka(kafka: str) -> AsyncIterator[Callable[..., Awaitable[Stream]]]:
    """Opens streams of one pipeline on Kafka; closes what is left open."""
    name = f"p{uuid.uuid4().hex[:8]}"
    opened: list[Stream] = []

    async def open_one() -> Stream:
        stream = Stream(StreamOptions(url=kafka), name=name, directory=None, log=logging.getLogger("test"))
        await stream.open()
        opened.append(stream)
        return stream

    yield open_one
    for stream in opened:
        await stream.close(0)

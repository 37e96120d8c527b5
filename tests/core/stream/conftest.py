"""What the tests of the stream layer share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.config.model import StreamOptions
from headrace.events import Event
from headrace.stream import Record, Stream


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

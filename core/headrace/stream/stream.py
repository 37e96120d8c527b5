"""The stream between the stages: opens the backend its URL names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from headrace.config.model import StreamOptions
from headrace.errors import StreamError
from headrace.stream.consumer import Consumer
from headrace.stream.files import Files, MemoryFiles
from headrace.stream.log import Log
from headrace.stream.topic import Record, Topic, TopicOptions

__all__ = ["Stream"]


class Stream:
    """All topics of a pipeline. ``directory``: where the embedded log lives; None keeps it in memory."""

    def __init__(self, options: StreamOptions, *, name: str, directory: Path | None, log: logging.Logger) -> None:
        if options.url and options.url.startswith("kafka:"):
            raise StreamError("kafka is not here yet")
        self._name = name
        self._logger = log
        self._log = Log(
            directory or Path("/memory"),
            log,
            files=Files() if directory else MemoryFiles(),
            sync=directory is not None and options.sync == "full",
            min_free=options.min_free_disk,
        )
        self._consumers: list[Consumer] = []

    async def open(self) -> None:
        """Take the log and recover what is in it. ``StreamError`` if another process has it, or it cannot be read."""
        await self._log.open()

    async def topic(self, name: str, options: TopicOptions) -> Topic:
        """The topic of this name, made or taken up; also while others are in use."""
        return await self._log.topic(name, options)

    async def consume(self, topic: Topic, handler: Callable[[Record], Awaitable[None]]) -> Consumer:
        """Await ``handler`` for each record of ``topic`` from the oldest unsettled one on."""
        if topic.reading:
            raise StreamError(f"{topic.name} has a consumer already")
        consumer = Consumer(topic, f"{self._name}.{topic.name}", handler, self._logger)
        self._consumers.append(consumer)
        await consumer.start()
        return consumer

    async def close(self, timeout: float = 5.0) -> None:
        """Stop all consumers within ``timeout``, commit, and let go of the log, whatever is unsettled."""
        await asyncio.gather(*(consumer.stop(timeout) for consumer in self._consumers))
        await self._log.close()

    def orphans(self) -> dict[str, tuple[int, int]]:
        """Topics on disk with a backlog that nobody opened: name → events and bytes."""
        return self._log.orphans()

    async def purge(self, name: str) -> None:
        """Delete the data of an orphan."""
        await self._log.purge(name)

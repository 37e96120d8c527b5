"""The stream between the stages: opens the backend its URL names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.config.model import StreamOptions
from headrace.errors import StreamError
from headrace.stream.consumer import Consumer
from headrace.stream.files import Files, MemoryFiles
from headrace.stream.log import Log
from headrace.stream.topic import Record, Topic, TopicOptions

if TYPE_CHECKING:
    from headrace.stream.kafka import Kafka

__all__ = ["Stream"]


class Stream:
    """All topics of a pipeline. ``directory``: where the embedded log lives; None keeps it in memory."""

    def __init__(self, options: StreamOptions, *, name: str, directory: Path | None, log: logging.Logger) -> None:
        self._name = name
        self._logger = log
        self._backend = _backend(options, name, directory, log)
        self._consumers: list[Consumer] = []

    async def open(self) -> None:
        """Take the log and recover what is in it. ``StreamError`` if another process has it, or it cannot be read."""
        await self._backend.open()

    async def topic(self, name: str, options: TopicOptions) -> Topic:
        """The topic of this name, made or taken up; also while others are in use."""
        return await self._backend.topic(name, options)

    async def consume(self, topic: Topic, handler: Callable[[Record], Awaitable[None]]) -> Consumer:
        """Await ``handler`` for each record of ``topic`` from the oldest unsettled one on."""
        if topic.reading:
            raise StreamError(f"{topic.name} has a consumer already")
        self._consumers = [each for each in self._consumers if not each.stopped]
        consumer = Consumer(topic, f"{self._name}.{topic.name}", handler, self._logger)
        self._consumers.append(consumer)
        await consumer.start()
        return consumer

    async def close(self, timeout: float = 5.0) -> None:
        """Stop all consumers within ``timeout``, commit, and let go of the log, whatever is unsettled."""
        await asyncio.gather(*(consumer.stop(timeout) for consumer in self._consumers))
        await self._backend.close()

    def trouble(self) -> str:
        """Why nothing can be stored for now, such as a full disk; or \"\"."""
        return self._backend.trouble()

    def orphans(self) -> dict[str, tuple[int, int]]:
        """Topics on disk with a backlog that nobody opened: name → events and bytes."""
        return self._backend.orphans()

    async def purge(self, name: str) -> None:
        """Delete the data of an orphan."""
        await self._backend.purge(name)


def _backend(options: StreamOptions, name: str, directory: Path | None, log: logging.Logger) -> Log | Kafka:
    if options.url and options.url.startswith("kafka://"):
        from headrace.stream.kafka import Kafka  # not every pipeline needs it

        return Kafka(options.url, name, log)
    return Log(
        directory or Path("/memory"),
        log,
        files=Files() if directory else MemoryFiles(),
        sync=directory is not None and options.sync == "full",
        min_free=options.min_free_disk,
    )

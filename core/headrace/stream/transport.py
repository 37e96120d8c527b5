"""The embedded Faust transport: an app reads one topic of the embedded log.

Faust's fetcher polls; here an append wakes the consumer, which puts the next record straight into the agent's
channel, one at a time: the next one goes when the agent is done with it. The commit point is the log's own, so
Faust's acks, commits, rebalances and tables are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from faust import App
from faust.app.base import BootStrategy
from faust.events import Event
from faust.tables.manager import TableManager
from faust.transport import base
from faust.transport.consumer import Consumer
from faust.transport.drivers import TRANSPORTS
from faust.types import TP, ConsumerMessage

from headrace.stream.logtopic import LogTopic

__all__ = ["EmbeddedApp"]

# Faust is untyped for mypy (see pyproject.toml), hence the ignores at its classes.

_READ_AGAIN = 1.0


class EmbeddedConsumer(Consumer):  # type: ignore[misc]
    """Hands the records of ``app.log_topic`` to the one channel that is subscribed to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._topic: LogTopic = self.app.log_topic
        self._tp = TP(self._topic.name, 0)
        self._channel: Any = None
        self._handed = False  # the agent has a record, and is not done with it
        self.running = asyncio.Event()

    def _get_tasks(self) -> Iterable[Any]:
        return ()  # no commit timer, no livelock detector

    async def subscribe(self, topics: Iterable[str]) -> None:
        """The conductor found the agent's channel: there is one partition, it is ours, and the flow begins."""
        conductor = self.app.topics
        await conductor.on_partitions_assigned({self._tp})
        (self._channel,) = conductor._tp_index[self._tp]
        self.app.flow_control.resume()
        self._topic.start_reading(self.pump)
        self.running.set()
        self.pump()

    def assignment(self) -> set[Any]:
        return set()  # nothing to be revoked when the app stops

    def pump(self) -> None:
        """Give the agent the next record, if it waits for one."""
        if self._handed or self._channel is None:
            return
        try:
            record = self._topic.take()
        except OSError as exc:
            self._topic.log.logger.error("%s cannot be read, trying again: %s", self._topic.name, exc)
            asyncio.get_running_loop().call_later(_READ_AGAIN, self.pump)
            return
        if record is not None:
            self._handed = True
            tp, generation = self._tp, self.app.consumer_generation_id
            message = ConsumerMessage(
                tp.topic, 0, record.offset, 0.0, 0, None, None, None, None, 0, 0, tp, generation_id=generation
            )
            self._channel.queue.force_put_nowait(Event(self.app, None, record, None, message))

    def taken(self) -> None:
        """The agent has begun with a record."""

    def done(self) -> None:
        """The agent is ready for the next record."""
        self._handed = False
        self.pump()

    def halt(self) -> None:
        """Hand over nothing more."""
        self._channel = None
        self._topic.stop_reading()

    async def on_stop(self) -> None:
        self.halt()


# Faust declares what its fetcher, its rebalances and its tables would call; none of them runs here.
EmbeddedConsumer.__abstractmethods__ = frozenset()


class EmbeddedProducer(base.Producer):  # type: ignore[misc]
    """Not used: ``Topic.send`` appends to the log itself, without Faust's tasks per message."""


class EmbeddedTransport(base.Transport):  # type: ignore[misc]
    """What ``embedded://`` means to Faust."""

    Consumer = EmbeddedConsumer
    Producer = EmbeddedProducer
    driver_version = "headrace-embedded"


TRANSPORTS.aliases["embedded"] = f"{__name__}:EmbeddedTransport"


class _NoTables(TableManager):  # type: ignore[misc]
    """No tables; the stock manager waits a second for some to be registered."""

    async def wait_until_tables_registered(self) -> None:
        return


class _Boot(BootStrategy):  # type: ignore[misc]
    def server(self) -> Iterable[Any]:
        """What an app on the log needs: its consumer, its agent, and the conductor that joins them."""
        return [self.app.consumer, self.app.agents, self.app.topics]


class EmbeddedApp(App):  # type: ignore[misc]
    """A Faust app that reads one topic of the log."""

    BootStrategy = _Boot

    def __init__(self, topic: LogTopic, group: str) -> None:
        self.log_topic = topic
        super().__init__(
            group,
            broker="embedded://",
            TableManager=_NoTables,
            autodiscover=False,
            stream_wait_empty=False,
            value_serializer="raw",
            web_enabled=False,
        )

    async def on_start(self) -> None:
        await super().on_start()
        self.sensors.remove(self.monitor)  # costs 3 µs a message, and nobody looks

    @property
    def crashed_event(self) -> Any:
        return self._crashed

    def _create_directories(self) -> None:
        """It keeps nothing on disk."""

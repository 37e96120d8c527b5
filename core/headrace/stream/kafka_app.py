"""The Kafka side of Faust: its aiokafka driver joins the group and fetches.

The commit point and the way to the agent are ours. Stock Faust commits past messages that were not acknowledged,
acknowledges messages it skips in a rebalance, and sleeps a second whenever a buffer fills.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from faust import App
from faust.app.base import BootStrategy
from faust.events import Event as FaustEvent
from faust.tables.manager import TableManager
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from headrace.events import decode
from headrace.stream.kafka import MESSAGE_LIMIT, Delivered, KafkaTopic

__all__ = ["KafkaApp"]

# Faust is untyped for mypy (see pyproject.toml), hence the ignores at its classes.

_COMMIT_BEFORE_REVOKE = 3.0


class SafeCommit:
    """A mixin before a Faust consumer: commits one past the leading run of delivered messages that are settled.

    Offsets that are never delivered (compacted, transaction markers) do no harm: only delivered ones are looked at.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivered: defaultdict[Any, deque[Delivered]] = defaultdict(deque)
        self._commit_point: dict[Any, int] = {}
        self._committing = asyncio.Lock()

    def commit_points(self) -> dict[Any, int]:
        """Where each partition may be committed."""
        for tp, delivered in self._delivered.items():
            while delivered and delivered[0].settled:
                self._commit_point[tp] = delivered.popleft().offset + 1
        return self._commit_point

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is settled and not committed yet."""
        async with self._committing:
            committed: Any = self._committed_offset  # type: ignore[attr-defined]  # Faust's
            due = {tp: offset for tp, offset in self.commit_points().items() if committed[tp] != offset}
            done = bool(due) and await self._commit(due)  # type: ignore[attr-defined]  # Faust's
            if done:
                committed.update(due)
            return done

    def forget(self) -> None:
        """The partitions are assigned anew."""
        self._delivered.clear()
        self._commit_point.clear()


class KafkaConsumer(SafeCommit, driver.Consumer):  # type: ignore[misc]
    """Gives the agent one message at a time; the next one when it is done with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._topic: KafkaTopic = self.app.kafka_topic
        self._next: dict[Any, int] = {}
        self._seeks = 0  # how often fetching began anew
        self._busy = False
        self._ready = asyncio.Event()
        self._halted = False
        self.running = asyncio.Event()

    def _get_tasks(self) -> Iterable[Any]:
        return [type(self)._commit_handler]  # without the livelock detector, which knows only stock Faust's ways

    # -- the way to the agent

    async def _drain_messages(self, fetcher: Any) -> None:
        """Called by Faust's fetcher; runs until it is stopped."""
        try:
            while not (self.should_stop or fetcher.should_stop or self._halted):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                    continue
                active = self._get_active_partitions()
                if not active:
                    await self.sleep(0.1)
                    continue
                seeks = self._seeks
                found = await self._getmany(active, 1.0)
                if seeks == self._seeks:
                    await self._hand_over(found)
                elif self.flow_active:
                    # the fetch began before partitions were assigned and moved past the committed offsets since
                    await self.perform_seek()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise

    async def _hand_over(self, found: Mapping[Any, Any]) -> None:
        seeks = self._seeks
        for partition, records in found.items():
            tp = TP(partition.topic, partition.partition)
            for record in records:
                await self._ready.wait()
                if self._halted or not self.flow_active or seeks != self._seeks:
                    return  # they come again, from the committed offset on
                self._hand(tp, record)

    def _hand(self, tp: Any, record: Any) -> None:
        delivered = Delivered(record.offset, record.timestamp)
        self._delivered[tp].append(delivered)
        self._next[tp] = record.offset + 1
        try:
            events = decode(record.value)
        except (ValueError, TypeError) as exc:
            self._topic.kafka.logger.error("%s: message %d cannot be decoded: %s", tp, record.offset, exc)
            self._topic.corrupt += 1
            delivered.settled = True
            return
        value = self._topic.hand_over(events, len(record.value), delivered)
        partition, generation = tp.partition, self.app.consumer_generation_id
        message = ConsumerMessage(
            tp.topic, partition, record.offset, 0.0, 0, None, None, None, None, 0, 0, tp, generation_id=generation
        )
        self._ready.clear()
        (channel,) = self.app.topics._tp_index[tp]
        channel.queue.force_put_nowait(FaustEvent(self.app, None, value, None, message))

    def taken(self) -> None:
        """The agent has begun with a record."""
        self._busy = True

    def done(self) -> None:
        """The agent is ready for the next record."""
        self._busy = False
        self._ready.set()

    def halt(self) -> None:
        """Hand over nothing more."""
        self._halted = True
        self._topic.reading = False
        self._ready.set()

    def lag(self) -> int:
        """Messages in the partitions of this process that were not handed over."""
        ends = {tp: self.highwater(tp) or 0 for tp in self.assignment()}
        return sum(max(end - (self._next.get(tp) or 0), 0) for tp, end in ends.items())

    # -- rebalances

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commit first: Faust forgets before it commits, and so repeats up to a commit interval."""
        try:
            await asyncio.wait_for(self.commit(), _COMMIT_BEFORE_REVOKE)
        except TimeoutError:
            self._topic.kafka.logger.warning("%s: the commit before a rebalance took too long", self._topic.full_name)
        self._forget()
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Called when partitions were assigned: go on from what is committed, with nothing handed over."""
        self._forget()
        self._seeks += 1
        await super().perform_seek()
        self._seeks += 1
        self._next.update({tp: offset for tp, offset in self._read_offset.items() if offset})
        if not self._busy:  # what was on its way to the agent is gone
            self._ready.set()

    def _forget(self) -> None:
        self.forget()
        self._topic.forget()
        self._next.clear()

    def resume_flow(self) -> None:
        super().resume_flow()
        self.running.set()


class KafkaTransport(driver.Transport):  # type: ignore[misc]
    """What ``kafka://`` means to Faust here."""

    Consumer = KafkaConsumer


TRANSPORTS.aliases["kafka"] = f"{__name__}:KafkaTransport"


class _NoTables(TableManager):  # type: ignore[misc]
    """No tables; the stock manager waits a second for some to be registered."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _Boot(BootStrategy):  # type: ignore[misc]
    def server(self) -> Iterable[Any]:
        """Without producer (the stream has one for all), leader election and replies."""
        return [self.app.consumer, self.app.agents, self.app.topics, self.app.tables]


class KafkaApp(App):  # type: ignore[misc]
    """A Faust app that reads one topic as a member of a group."""

    BootStrategy = _Boot

    def __init__(self, topic: KafkaTopic, group: str) -> None:
        self.kafka_topic = topic
        super().__init__(
            group,
            broker=[f"kafka://{server}" for server in topic.kafka.servers],
            TableManager=_NoTables,
            autodiscover=False,
            broker_commit_interval=0.5,
            broker_heartbeat_interval=1.0,
            broker_max_poll_interval=24 * 3600.0,  # a sink that is down stops the polling, and is no reason to leave
            broker_max_poll_records=16,
            broker_request_timeout=30.0,
            broker_session_timeout=6.0,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=MESSAGE_LIMIT,
            stream_recovery_delay=0.0,
            stream_wait_empty=False,
            topic_disable_leader=True,
            value_serializer="raw",
            web_enabled=False,
        )

    async def on_start(self) -> None:
        await super().on_start()
        self.sensors.remove(self.monitor)

    @property
    def crashed_event(self) -> Any:
        return self._crashed

    def _create_directories(self) -> None:
        """It keeps nothing on disk."""
